"""PC-DARTS: search in a part of the channels and weigh the edges as well (Xu et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import ArchOptimiser, DartsLike, Method, SearchSize, WeightOptimiser, register
from nascommon.parts.choices import Discretize, MixedOp
from nascommon.parts.discretizer import KeptEdges, keep_edges, strongest
from nascommon.parts.logits import with_normal_beta
from nascommon.parts.relaxation import with_edge_softmax
from nascommon.settings import BatchSize, Channels, NonNegative, Whole
from nascommon.space.stem import Stem


class PcdartsSettings(DartsLike):
    """The defaults are the paper's on CIFAR-10 (docs/methods.md, section 3.3).

    Its direct search on ImageNet: channel_divisor 2, stem imagenet, batch_size 1024, warmup 35, weights {lr: 0.5,
    warmup_epochs: 5}, architecture {lr: 6e-3, clip: 5}; 10 % and 2.5 % of every class train network and architecture:
    data.search_fraction 0.125 with data.architecture_fraction 0.2 (presets/imagenet.yaml).
    """

    batch_size: BatchSize = 256
    warmup: Whole = 15
    channel_divisor: Channels = 4
    """K: one K-th of the channels goes through the candidates; 1 is DARTS with edge weights."""
    stem: Stem = "cifar"
    """``imagenet`` halves three times before the first cell, for images of 224 pixels."""
    beta_scale: NonNegative = 1e-3
    kept_edges: KeptEdges = 8
    weights: WeightOptimiser = WeightOptimiser(lr=0.1, lr_min=0.0)
    architecture: ArchOptimiser = ArchOptimiser(lr=6e-4)


@register
def pcdarts(settings: PcdartsSettings, size: SearchSize) -> Method:
    """A quarter of the channels is mixed, edges are weighed by a softmax of their own, logits wait for 15 epochs."""
    method = settings.darts(size)
    return replace(
        method,
        initialise=with_normal_beta(method.initialise, settings.beta_scale),
        relax=with_edge_softmax(method.relax),
        mixed_op=MixedOp(channel_divisor=settings.channel_divisor, stem=settings.stem),
        discretize=Discretize(strongest(keep_edges(settings.kept_edges, size.space))),
    )
