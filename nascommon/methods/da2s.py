"""DA2S: make the supernet itself become discrete by entropy penalties (Tian et al., Pattern Recognition 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nascommon.method import ArchOptimiser, DartsLike, Method, SearchSize, register
from nascommon.parts.choices import Discretize, MixedOp
from nascommon.parts.discretizer import KeptEdges, keep_edges, strongest
from nascommon.parts.logits import with_kept_share_beta
from nascommon.parts.penalty import EntropyPenalty
from nascommon.parts.relaxation import (
    identity,
    sharpened,
    sharpened_softmax_over_operations,
    with_clipped_edge_softmax,
)
from nascommon.settings import Channels, NonNegative


class Da2sSettings(EntropyPenalty, DartsLike):
    """The defaults are the released code's, with which the paper's best row was made (docs/methods.md, section 3.5).

    Deviation: the paper has plain softmaxes and no factors 0.1 and 0.2; set ``alpha_transform: identity``,
    ``lambda_c: {control: linear, factor: 1}`` and ``count_weight: 1`` for that. On PC-DARTS' channels:
    ``channel_divisor: 4``, ``batch_size: 256``, ``weights: {lr: 0.1, lr_min: 0}``.
    """

    kept_edges: KeptEdges = 8
    """Edges of 14 that each cell keeps, and that the edge logits are trained to."""
    dead_node: Literal["drop", "zeros"] = "drop"
    """Use of the node without input when 3 edges are kept: leave it out of the cell's output, or let it give zeros."""
    alpha_transform: Literal["sharpened", "identity"] = "sharpened"
    channel_divisor: Channels = 1
    alpha_scale: NonNegative = 1e-4
    beta_scale: NonNegative = 1e-4
    none: bool = False
    architecture: ArchOptimiser = ArchOptimiser(alpha_delay=7)


@register
def da2s(settings: Da2sSettings, size: SearchSize) -> Method:
    """Entropy penalties on operations and edges, with rising weight, until cutting the supernet changes little."""
    method = settings.darts(size)
    keep = keep_edges(settings.kept_edges, size.space, zeros=settings.dead_node == "zeros")
    sharp = settings.alpha_transform == "sharpened"
    relax = sharpened_softmax_over_operations if sharp else method.relax
    return replace(
        method,
        initialise=with_kept_share_beta(method.initialise, keep, settings.beta_scale),
        relax=with_clipped_edge_softmax(relax, keep),
        penalty=settings.penalty(keep, sharpened if sharp else identity),
        mixed_op=MixedOp(channel_divisor=settings.channel_divisor),
        discretize=Discretize(strongest(keep, rank="edge")),
    )
