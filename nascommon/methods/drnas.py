"""DrNAS: learn a Dirichlet distribution over mixing weights and draw them in every step (Chen et al., ICLR 2021)."""

from __future__ import annotations

from nascommon.method import ArchOptimiser, CandidateNames, Method, OnePhase, SearchSize, WeightOptimiser, register
from nascommon.parts.logits import normal_alpha
from nascommon.parts.relaxation import dirichlet_mean
from nascommon.parts.sampling import dirichlet
from nascommon.settings import Count, NonNegative, Whole
from nascommon.space.operations import CANDIDATES


class DrnasSettings(OnePhase):
    """The defaults are the released code's (xiangning-chen/DrNAS), without its progressive second stage."""

    batch_size: Count = 64
    warmup: Whole = 10
    channel_divisor: Count = 1
    """The released search uses 6 and later 4, on networks of evaluation size (search: channels 36, cells 20)."""
    alpha_scale: NonNegative = 1e-3
    candidates: CandidateNames = tuple(name for name in CANDIDATES if name != "none")
    weights: WeightOptimiser = WeightOptimiser(lr=0.1, lr_min=0.0)
    architecture: ArchOptimiser = ArchOptimiser(lr=6e-4)


@register
def drnas(settings: DrnasSettings, size: SearchSize) -> Method:
    """Mixing weights drawn from Dirichlet distributions whose concentrations elu(alpha) + 1 are learned.

    Deviation: no second stage with widened weights and fewer candidates; the genotype is read from the distribution's
    mean, as the paper says, where the code reads a softmax of alpha. The pull towards concentration one is the
    optimiser's weight decay, as released.
    """
    return Method(
        candidates=settings.candidates,
        phases=settings.phases(size),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=dirichlet_mean,
        sample=dirichlet,
        channel_divisor=settings.channel_divisor,
        architecture=settings.architecture,
    )
