"""DARTS-: a fading auxiliary skip takes the skip connection's unfair advantage (Chu et al., ICLR 2021)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import DartsLike, Method, SearchSize, register
from nascommon.parts.choices import USES, Sample
from nascommon.parts.control import falling, scaled
from nascommon.parts.sampling import auxiliary_skip
from nascommon.settings import NonNegative


class DartsminusSettings(DartsLike):
    """The defaults are the released code's with its script's flags (Meituan-AutoML/DARTS-)."""

    skip_strength: NonNegative = 1.0
    """Weight of the auxiliary skip at the start; it falls linearly to 0."""


@register
def dartsminus(settings: DartsminusSettings, size: SearchSize) -> Method:
    """DARTS with an auxiliary skip beside the softmax of every edge, whose strength falls to zero.

    Deviation: on stride-2 edges the auxiliary skip shares the candidate's FactorizedReduce instead of having its own,
    and its strength reaches 0 in the last epoch where the released schedule ends one step above. It falls once an
    epoch, as released, and not at every step as in the paper.
    """
    fading = auxiliary_skip(scaled(settings.skip_strength, falling))
    return replace(settings.darts(size), sample=Sample(fading, USES))
