"""Beta-DARTS: a decay on the softmaxed weights keeps any operation from running away (Ye et al., CVPR 2022)."""

from __future__ import annotations

from nascommon.method import ArchOptimiser, CandidateNames, Method, OnePhase, SearchSize, WeightOptimiser, register
from nascommon.parts.control import linear, scaled
from nascommon.parts.logits import normal_alpha
from nascommon.parts.penalty import beta_decay_penalty
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.settings import Count, NonNegative
from nascommon.space.operations import CANDIDATES


class BetadartsSettings(OnePhase):
    """The defaults are the released code's for the DARTS space (Sunshine-Ye/Beta-DARTS)."""

    batch_size: Count = 64
    decay: NonNegative = 25.0
    """Coefficient of the Beta-decay at the end; it rises linearly from 0 (released: 50 e / 100 over 50 epochs)."""
    alpha_scale: NonNegative = 1e-3
    candidates: CandidateNames = tuple(name for name in CANDIDATES if name != "none")
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()


@register
def betadarts(settings: BetadartsSettings, size: SearchSize) -> Method:
    """DARTS with the mean over edges of logsumexp(alpha) as a penalty of rising weight.

    Deviation: the released script for this space cannot run; its mean is taken over the edges of both kinds of cells.
    """
    return Method(
        candidates=settings.candidates,
        phases=settings.phases(size),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=softmax_over_operations,
        penalty=beta_decay_penalty(scaled(settings.decay, linear)),
        architecture=settings.architecture,
    )
