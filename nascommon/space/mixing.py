"""Mixing weights are what multiplies the outputs of the candidates; the supernet takes them as an argument.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nascommon.space.genotype import CellGenotype, Genotype
from nascommon.space.kinds import PerKind
from nascommon.space.space import CellSpace, EdgeCandidates, Space
from nascommon.space.topology import Edge


@functools.cache
def operation_columns(candidates: EdgeCandidates, device: torch.device) -> tuple[tuple[str, ...], Tensor]:
    """Return all names that occur and, for every edge and candidate, the position of its name among them [E, O].

    Made once for a device: a step that is recorded as a CUDA graph must not copy from the host.
    """
    names = tuple(sorted({name for row in candidates for name in row}))
    return names, torch.tensor([[names.index(name) for name in row] for row in candidates]).to(device)


@dataclass(frozen=True)
class CellMixing:
    """The mixing weights of one kind of cell.

    Attributes:
        weights_EO: multiplies the output of each candidate.
        edges_E: multiplies what an edge gives as a whole, with partial channels also those that bypass its
            candidates; None is one everywhere.
        active: per edge the positions of the candidates to compute; None computes all. A candidate outside of
            ``active`` contributes nothing and its batch norm sees nothing, as if it were not there; an edge without
            active candidates is not there either.
    """

    weights_EO: Tensor
    edges_E: Tensor | None = None
    active: tuple[tuple[int, ...], ...] | None = None

    def products(self) -> Tensor:
        """Return the weight of each candidate in its node: its own times that of its edge."""
        return self.weights_EO if self.edges_E is None else self.weights_EO * self.edges_E[:, None]

    def detach(self) -> CellMixing:
        """Return the same weights cut from the graph."""
        return replace(
            self,
            weights_EO=self.weights_EO.detach(),
            edges_E=None if self.edges_E is None else self.edges_E.detach(),
        )


class Mixing(PerKind[CellMixing]):
    """The mixing weights of every kind of cell."""

    def detach(self) -> Mixing:
        """Return the same weights cut from the graph."""
        return Mixing((kind, cell.detach()) for kind, cell in self.items())


def one_hot(genotype: Genotype, space: Space, *, like: Tensor) -> Mixing:
    """Return weight one on the operations that ``genotype`` keeps and zero elsewhere.

    With these weights the supernet computes what the stand-alone network of the genotype would, with shared weights.

    Args:
        genotype: at most one operation per edge.
        space: of the supernet.
        like: gives dtype and device.

    Raises:
        ValueError: the genotype keeps an operation that the edge does not have, or two on one edge.
    """
    return Mixing((kind, one_hot_cell(cell, space.cells[kind], like=like)) for kind, cell in genotype.items())


def one_hot_cell(cell: CellGenotype, space: CellSpace, *, like: Tensor) -> CellMixing:
    """Return the weights of ``one_hot`` for a single kind of cell."""
    candidates = space.candidates
    weights_EO = torch.zeros(len(candidates), space.operations, dtype=like.dtype, device=like.device)
    active: list[tuple[int, ...]] = [()] * len(candidates)
    for node, choices in cell.by_state:
        for operation, source in choices:
            edge = space.topology.position.get(Edge(source, node))
            if edge is None or operation not in candidates[edge] or active[edge]:
                raise ValueError(f"node {node}: {operation}@{source} does not fit the supernet's candidates")
            choice = candidates[edge].index(operation)
            weights_EO[edge, choice] = 1
            active[edge] = (choice,)
    return CellMixing(weights_EO, active=tuple(active))


def equal_mixing(space: Space) -> Mixing:
    """Return the same weight for every candidate of an edge, summing to one."""
    shapes = {kind: (len(cell.candidates), cell.operations) for kind, cell in space.cells.items()}
    return Mixing((kind, CellMixing(torch.full(shape, 1 / shape[1]))) for kind, shape in shapes.items())
