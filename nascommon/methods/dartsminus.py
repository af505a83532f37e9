"""DARTS-: a fading auxiliary skip takes the skip connection's unfair advantage (Chu et al., ICLR 2021)."""

from __future__ import annotations

from nascommon.method import ArchOptimiser, CandidateNames, Method, OnePhase, SearchSize, WeightOptimiser, register
from nascommon.parts.control import falling, scaled
from nascommon.parts.logits import normal_alpha
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.parts.sampling import auxiliary_skip
from nascommon.settings import Count, NonNegative
from nascommon.space.operations import CANDIDATES


class DartsminusSettings(OnePhase):
    """The defaults are the released code's with its script's flags (Meituan-AutoML/DARTS-)."""

    batch_size: Count = 64
    skip_strength: NonNegative = 1.0
    """Of the auxiliary skip at the start; it falls linearly to 0."""
    alpha_scale: NonNegative = 1e-3
    candidates: CandidateNames = CANDIDATES
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()


@register
def dartsminus(settings: DartsminusSettings, size: SearchSize) -> Method:
    """DARTS with an auxiliary skip beside the softmax of every edge, whose strength falls to zero.

    Deviation: on stride-2 edges the auxiliary skip shares the candidate's FactorizedReduce instead of having its own,
    and its strength reaches 0 in the last epoch where the released schedule ends one step above.
    """
    return Method(
        candidates=settings.candidates,
        phases=settings.phases(size),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=softmax_over_operations,
        sample=auxiliary_skip(scaled(settings.skip_strength, falling)),
        architecture=settings.architecture,
    )
