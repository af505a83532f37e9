"""SDARTS-RS: train the network weights under randomly perturbed mixing weights (Chen, Hsieh, ICML 2020)."""

from __future__ import annotations

from nascommon.method import ArchOptimiser, CandidateNames, Method, OnePhase, SearchSize, WeightOptimiser, register
from nascommon.parts.control import between
from nascommon.parts.logits import normal_alpha
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.parts.sampling import perturbed
from nascommon.settings import Count, NonNegative
from nascommon.space.operations import CANDIDATES


class SdartsSettings(OnePhase):
    """The defaults are the released code's (xiangning-chen/SmoothDARTS)."""

    batch_size: Count = 64
    first_radius: NonNegative = 0.03
    """Of the uniform noise on the mixing weights; it grows linearly."""
    last_radius: NonNegative = 0.3
    alpha_scale: NonNegative = 1e-3
    candidates: CandidateNames = tuple(name for name in CANDIDATES if name != "none")
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()


@register
def sdarts(settings: SdartsSettings, size: SearchSize) -> Method:
    """DARTS whose weight steps see the mixing weights with growing uniform noise; architecture steps see them clean."""
    return Method(
        candidates=settings.candidates,
        phases=settings.phases(size),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=softmax_over_operations,
        sample=perturbed(between(settings.first_radius, settings.last_radius)),
        sample_in=frozenset({"weights"}),
        architecture=settings.architecture,
    )
