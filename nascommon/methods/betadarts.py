"""Beta-DARTS: a decay on the softmaxed weights keeps any operation from running away (Ye et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import DartsLike, Method, SearchSize, register
from nascommon.parts.control import linear, scaled
from nascommon.parts.penalty import beta_decay_penalty
from nascommon.settings import NonNegative


class BetadartsSettings(DartsLike):
    """The defaults are the released code's for the DARTS space (Sunshine-Ye/Beta-DARTS)."""

    decay: NonNegative = 25.0
    """Coefficient of the Beta-decay at the end; it rises linearly from 0 (released: 50 e / 100 over 50 epochs)."""
    none: bool = False


@register
def betadarts(settings: BetadartsSettings, size: SearchSize) -> Method:
    """DARTS with the mean over edges of logsumexp(alpha) as a penalty of rising weight.

    Deviation: the released script for this space cannot run; its mean is taken over the edges of both kinds of cells.
    """
    return replace(settings.darts(size), penalty=beta_decay_penalty(scaled(settings.decay, linear)))
