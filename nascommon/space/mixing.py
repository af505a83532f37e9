"""Mixing weights are what multiplies the outputs of the candidates; the supernet takes them as an argument.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nascommon.space.genotype import CellGenotype, CellKind, Genotype
from nascommon.space.topology import INPUTS, Edge, Topology

EdgeCandidates = tuple[tuple[str, ...], ...]
"""For each edge of a cell the names of its candidates, in the order of their mixing weights."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of every edge of the two cells; all edges of a cell have equally many."""

    normal: EdgeCandidates
    reduction: EdgeCandidates

    def cell(self, kind: CellKind) -> EdgeCandidates:
        """Return the candidates of that cell."""
        return self.normal if kind == "normal" else self.reduction


def uniform_candidates(operations: tuple[str, ...], topology: Topology) -> Candidates:
    """Give every edge the same candidates."""
    edges = (operations,) * len(topology.edges)
    return Candidates(edges, edges)


@dataclass(frozen=True)
class CellMixing:
    """The mixing weights of one kind of cell.

    Attributes:
        weights_EO: multiplies the output of each candidate.
        active: per edge the positions of the candidates to compute; None computes all. A candidate outside of
            ``active`` contributes nothing and its batch norm sees nothing, as if it were not there.
    """

    weights_EO: Tensor
    active: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Mixing:
    """The mixing weights of the two kinds of cells."""

    normal: CellMixing
    reduction: CellMixing

    def cell(self, kind: CellKind) -> CellMixing:
        """Return the mixing weights of that kind of cell."""
        return self.normal if kind == "normal" else self.reduction

    def detach(self) -> Mixing:
        """Return the same weights cut from the graph."""
        return Mixing(*(CellMixing(cell.weights_EO.detach(), cell.active) for cell in (self.normal, self.reduction)))


def one_hot(genotype: Genotype, topology: Topology, candidates: Candidates, *, like: Tensor) -> Mixing:
    """Return weight one on the operations that ``genotype`` keeps and zero elsewhere.

    With these weights the supernet computes what the stand-alone network of the genotype would, with shared weights.

    Args:
        genotype: at most one operation per edge.
        topology: of the supernet.
        candidates: of the supernet.
        like: gives dtype and device.

    Raises:
        ValueError: the genotype keeps an operation that the edge does not have, or two on one edge.
    """
    return Mixing(
        one_hot_cell(genotype.normal, topology, candidates.normal, like=like),
        one_hot_cell(genotype.reduction, topology, candidates.reduction, like=like),
    )


def one_hot_cell(cell: CellGenotype, topology: Topology, candidates: EdgeCandidates, *, like: Tensor) -> CellMixing:
    """One kind of cell of ``one_hot``."""
    position = {edge: index for index, edge in enumerate(topology.edges)}
    weights_EO = torch.zeros(len(candidates), len(candidates[0]), dtype=like.dtype, device=like.device)
    active: list[tuple[int, ...]] = [()] * len(candidates)
    for node, choices in enumerate(cell.nodes, start=INPUTS):
        for operation, source in choices:
            edge = position.get(Edge(source, node))
            if edge is None or operation not in candidates[edge] or active[edge]:
                raise ValueError(f"node {node}: {operation}@{source} does not fit the supernet's candidates")
            choice = candidates[edge].index(operation)
            weights_EO[edge, choice] = 1
            active[edge] = (choice,)
    return CellMixing(weights_EO, tuple(active))


def equal_mixing(candidates: Candidates) -> Mixing:
    """Return the same weight for every candidate of an edge, summing to one."""
    return Mixing(
        *(
            CellMixing(torch.full((len(edges), len(edges[0])), 1 / len(edges[0])))
            for edges in (candidates.normal, candidates.reduction)
        )
    )
