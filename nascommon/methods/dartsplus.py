"""DARTS+: stop the search when skip connections begin to take over (Liang et al., 2019, arXiv 1909.06035)."""

from __future__ import annotations

from nascommon.method import ArchOptimiser, CandidateNames, Method, OnePhase, SearchSize, WeightOptimiser, register
from nascommon.parts.logits import normal_alpha
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.settings import Count, NonNegative
from nascommon.space.genotype import Genotype
from nascommon.space.operations import CANDIDATES


class DartsplusSettings(OnePhase):
    """DARTS' defaults and the paper's first criterion; no code was released."""

    batch_size: Count = 64
    stop_at_skips: Count = 2
    """The search ends with the epoch after which the normal cell's genotype has so many skip connections."""
    alpha_scale: NonNegative = 1e-3
    candidates: CandidateNames = CANDIDATES
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()


@register
def dartsplus(settings: DartsplusSettings, size: SearchSize) -> Method:
    """DARTS that stops as soon as the normal cell has two skip connections.

    Deviation: the genotype of the stopping epoch is kept, since the paper leaves open whether it is this or the last.
    """

    def too_many_skips(genotype: Genotype) -> bool:
        return genotype.normal.skips >= settings.stop_at_skips

    return Method(
        candidates=settings.candidates,
        phases=settings.phases(size),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=softmax_over_operations,
        architecture=settings.architecture,
        stop=too_many_skips,
    )
