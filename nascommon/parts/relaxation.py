"""A relaxation turns architecture logits into mixing weights.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge, ``N`` names of operations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nascommon.parts.control import Progress
from nascommon.parts.discretizer import Keep
from nascommon.parts.logits import CellLogits
from nascommon.space.mixing import CellMixing, operation_columns
from nascommon.space.space import CellSpace
from nascommon.space.topology import Topology

Relaxation = Callable[[CellLogits, CellSpace, Progress], CellMixing]
"""(logits of one cell, its space, progress) -> mixing weights."""

Transform = Callable[[Tensor], Tensor]
"""Elementwise change of logits before a softmax."""


def softmax_over_operations(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    """The candidates of an edge compete: softmax over each row of alpha (DARTS, eq. 2)."""
    return CellMixing(logits.alpha_EO.softmax(dim=-1))


def sharpened_softmax_over_operations(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    """Take DARTS' softmax of logits that ``sharpened`` has pulled apart (released DA2S code)."""
    return CellMixing(sharpened(logits.alpha_EO).softmax(dim=-1))


def sigmoid(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    """The candidates do not compete: each has a weight of its own in (0, 1) (FairDARTS, eq. 5)."""
    return CellMixing(logits.alpha_EO.sigmoid())


def cross_edge_softmax(logits: CellLogits, space: CellSpace, _progress: Progress) -> CellMixing:
    """Let the edges that enter a node compete per operation: CEN, a softmax down its columns (EC-DARTS).

    An operation sums to one over those edges of the node that still have it as a candidate, so the weights that enter
    a node sum to the number of its operations. Operations do not compete with each other.

    Deviation: on the only edge into a node, of which the papers' cells have none, every operation would weigh one
    whatever its logit; there the operations compete, by DARTS' softmax.
    """
    names, column_EO = operation_columns(space.candidates, logits.alpha_EO.device)
    spread_EN = logits.alpha_EO.new_full((len(space.candidates), len(names)), -torch.inf)
    spread_EN = spread_EN.scatter(1, column_EO, logits.alpha_EO)
    shares = []
    for incoming in space.topology.incoming.values():
        alpha_EN = spread_EN[incoming.start : incoming.stop]
        if len(incoming) == 1:
            shares.append(alpha_EN.softmax(dim=1))
            continue
        missing_N = alpha_EN.isneginf().all(dim=0)
        shares.append(alpha_EN.masked_fill(missing_N, 0.0).softmax(dim=0))
    return CellMixing(torch.cat(shares).gather(1, column_EO))


def dirichlet_mean(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    """The mean of the Dirichlet distribution with concentration elu(alpha) + 1 per edge (DrNAS, eq. 2)."""
    concentration_EO = torch.nn.functional.elu(logits.alpha_EO) + 1
    return CellMixing(concentration_EO / concentration_EO.sum(dim=-1, keepdim=True))


def uniform_path(logits: CellLogits, space: CellSpace, _progress: Progress) -> CellMixing:
    """The chance of each operation in an architecture drawn uniformly; logits have no part in it.

    An edge is kept with chance k / n if its node keeps k of n, with any of its operations that may win, which ``none``
    may not in most spaces.
    """
    names, column_EO = operation_columns(space.candidates, logits.alpha_EO.device)
    none = names.index("none") if "none" in names and not space.may_win("none") else -1
    real_EO = (column_EO != none).to(logits.alpha_EO.dtype)
    kept = [min(space.kept / len(edges), 1.0) for edges in space.topology.incoming.values() for _ in edges]
    return CellMixing(real_EO / real_EO.sum(dim=-1, keepdim=True), logits.alpha_EO.new_tensor(kept))


def raw(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    """Alpha itself: only for reading a genotype as the released EC-DARTS code does, never for a forward pass."""
    return CellMixing(logits.alpha_EO)


def with_edge_softmax(relax: Relaxation) -> Relaxation:
    """Let the edges that enter a node compete as well: softmax over the node's betas (PC-DARTS, eq. 5)."""

    def relaxed(logits: CellLogits, space: CellSpace, progress: Progress) -> CellMixing:
        mixing = relax(logits, space, progress)
        return CellMixing(mixing.weights_EO, softmax_per_node(logits.betas(), space.topology))

    relaxed.__name__ = f"{relax.__name__} times softmax over a node's edges"
    return relaxed


def with_clipped_edge_softmax(relax: Relaxation, keep: Keep) -> Relaxation:
    """Weigh the n edges into node j by n softmax(min(beta, 1)) where it shall keep fewer than n (released DA2S code).

    Args:
        relax: gives the weights of the operations.
        keep: says how many edges to keep by node; a node that keeps all its edges weighs each with one.
    """

    def relaxed(logits: CellLogits, space: CellSpace, progress: Progress) -> CellMixing:
        mixing = relax(logits, space, progress)
        shares_E = softmax_per_node(clipped(logits.betas()), space.topology)
        edges = []
        for k, incoming in zip(keep.by_node(space), space.topology.incoming.values(), strict=True):
            n = len(incoming)
            share_E = shares_E[incoming.start : incoming.stop]
            edges.append(n * share_E if k < n else torch.ones_like(share_E))
        return CellMixing(mixing.weights_EO, torch.cat(edges))

    relaxed.__name__ = f"{relax.__name__} times n softmax(min(beta, 1)) over a node's n edges"
    return relaxed


def softmax_per_node(beta_E: Tensor, topology: Topology) -> Tensor:
    """Return weights [E] that sum to one over the edges that enter each node."""
    return torch.cat([beta_E[incoming.start : incoming.stop].softmax(dim=0) for incoming in topology.incoming.values()])


def sharpened(alpha_EO: Tensor) -> Tensor:
    """Map t to 2t, and (2t)^3 where 2t < -1: weak candidates fall faster (released DA2S code)."""
    doubled = 2 * alpha_EO
    return torch.where(doubled < -1, doubled**3, doubled)


def clipped(beta_E: Tensor) -> Tensor:
    """Map b to min(b, 1), without gradient above 1: an edge cannot be kept more than once (DA2S, eq. 7)."""
    return beta_E.clamp(max=1)


def identity(logits: Tensor) -> Tensor:
    """Leave logits as they are."""
    return logits
