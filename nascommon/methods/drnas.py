"""DrNAS: learn a Dirichlet distribution over mixing weights and draw them in every step (Chen et al., ICLR 2021)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import ArchOptimiser, DartsLike, Method, SearchSize, WeightOptimiser, register
from nascommon.parts.choices import MixedOp, Sample
from nascommon.parts.relaxation import dirichlet_mean
from nascommon.parts.sampling import dirichlet
from nascommon.settings import Channels, Whole


class DrnasSettings(DartsLike):
    """The defaults are the released code's (xiangning-chen/DrNAS), without its progressive second stage."""

    warmup: Whole = 10
    channel_divisor: Channels = 1
    """The released search uses 6 and later 4, on networks of evaluation size (search: channels 36, cells 20)."""
    none: bool = False
    weights: WeightOptimiser = WeightOptimiser(lr=0.1, lr_min=0.0)
    architecture: ArchOptimiser = ArchOptimiser(lr=6e-4)


@register
def drnas(settings: DrnasSettings, size: SearchSize) -> Method:
    """Mixing weights drawn from Dirichlet distributions whose concentrations elu(alpha) + 1 are learned.

    Deviation: no second stage with widened weights and fewer candidates; the genotype is read from the distribution's
    mean, as the paper says, where the code reads a softmax of alpha. The pull towards concentration one is the
    optimiser's weight decay, as released. Validation sees the distribution's mean, not a draw for every batch.
    """
    return replace(
        settings.darts(size),
        relax=dirichlet_mean,
        sample=Sample(dirichlet),
        mixed_op=MixedOp(channel_divisor=settings.channel_divisor),
    )
