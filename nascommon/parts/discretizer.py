"""A discretizer picks the discrete cells that mixing weights stand for.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.space import Candidates, CellSpace, Space
from nascommon.space.topology import Edge, Topology

Discretizer = Callable[[Mixing, Space], Genotype]
"""(mixing weights, space of the supernet) -> genotype."""

SKIP = "skip_connect"
EdgeRank = Literal["product", "edge"]
"""Rank of the edges of a node: by their best operation's weight times their own, or their own alone."""


@dataclass(frozen=True)
class Keep:
    """Rule by which edges survive discretization.

    Attributes:
        per_node: edges to keep by node; None keeps as many as the space says.
        rivals: nodes of which only the strongest keeps its edges; the others die, and so does every edge out of them.
        zeros: a dead node stays in the concatenation as zeros; otherwise the cell's output is narrower without it.
        threshold: an edge whose strength is below is not kept, however few there are; a cell always keeps one.
    """

    per_node: tuple[int, ...] | None = None
    rivals: tuple[int, ...] = ()
    zeros: bool = False
    threshold: float = -math.inf

    def by_node(self, space: CellSpace) -> tuple[int, ...]:
        """Return the edges to keep by node of a kind of cell, whether or not a node has so many."""
        return space.kept_by_node if self.per_node is None else self.per_node

    def __str__(self) -> str:
        counts = "strongest edges per node" if self.per_node is None else f"{self.per_node} edges by node"
        rivals = f", nodes {' and '.join(map(str, self.rivals))} share theirs" if self.rivals else ""
        return counts + rivals + (f", from {self.threshold:g} on" if math.isfinite(self.threshold) else "")


PAPERS = Topology()
"""The cell that DA2S' targets count the edges of."""
KeptEdges = Literal[8, 6, 5, 4, 3]
"""Edges of 14 that a cell with 4 nodes keeps (DA2S, Table 4)."""
ALL_KEPT = 8
"""Two edges of each of four nodes, or as many as another space keeps."""
IMBALANCED: dict[int, Keep] = {
    6: Keep((1, 1, 2, 2)),
    5: Keep((1, 1, 1, 2)),
    4: Keep((1, 1, 1, 1)),
    3: Keep((1, 1, 1, 1), rivals=(2, 3)),
}
"""DA2S' other targets: with 3 edges, the first two nodes share one."""


def keep_edges(kept: KeptEdges, space: Space, *, zeros: bool = False) -> Keep:
    """Return what the cells of a space keep.

    Raises:
        ValueError: another number than the space's own is asked of cells that are not the papers'.
    """
    if kept == ALL_KEPT:
        return Keep()
    for cell in space.cells.values():
        if cell.topology != PAPERS:
            raise ValueError(
                f"kept_edges: {kept} of 14 edges need search.nodes 4 (got {cell.topology.nodes} nodes); "
                "8 keeps two per node"
            )
    return replace(IMBALANCED[kept], zeros=zeros)


def strongest(keep: Keep, rank: EdgeRank = "product") -> Discretizer:
    """Keep per node the strongest edges, as many as ``keep`` says, and on each its heaviest operation."""

    def discretize(mixing: Mixing, space: Space) -> Genotype:
        return space.genotype(
            (kind, _strongest_cell(mixing[kind], cell, keep, rank)) for kind, cell in space.cells.items()
        )

    ranked = "" if rank == "product" else ", edges ranked by their own weight"
    discretize.__name__ = f"{keep}{ranked}"
    return discretize


strongest_edges = strongest(Keep())
"""Keep per node the two edges whose best operation weighs most, and on each that operation (DARTS, section 2.4).

``none`` is never kept where a space does not say so. Ties go to the earlier edge and the earlier candidate; edges are
listed from strong to weak.
"""


@dataclass(frozen=True)
class _Best:
    """The heaviest operation of an edge that may win it."""

    operation: str
    product: float
    rank: float


def _strongest_cell(mixing: CellMixing, space: CellSpace, keep: Keep, rank: EdgeRank) -> CellGenotype:
    topology = space.topology
    best = _best_by_edge(mixing, space, rank)
    dead = _dead_nodes(best, topology, keep)
    nodes = _kept_edges(best, space, keep, dead)
    if not any(nodes.values()):  # a cell must give something: the strongest edge from a cell input
        inputs = (e for e, edge in enumerate(topology.edges) if edge.source < topology.inputs)
        edge = max(inputs, key=lambda e: best[e].product)
        source, node = topology.edges[edge]
        nodes[node] = (Choice(best[edge].operation, source),)
        dead.discard(node)
    concat = [state for state in topology.outputs if keep.zeros or space.keeps_none or state not in dead]
    return space.genotype(nodes.values(), concat)


def _kept_edges(best: list[_Best], space: CellSpace, keep: Keep, dead: set[int]) -> dict[int, tuple[Choice, ...]]:
    """Return by node what it keeps, from strong to weak; nodes that keep nothing join ``dead``."""
    topology, nodes = space.topology, {}
    for (node, incoming), count in zip(topology.incoming.items(), keep.by_node(space), strict=True):
        open_edges = [edge for edge in incoming if topology.edges[edge].source not in dead and node not in dead]
        kept = sorted(open_edges, key=lambda edge: -best[edge].rank)[:count]
        strong = [edge for edge in kept if best[edge].product >= keep.threshold]
        if not strong:
            dead.add(node)
        nodes[node] = tuple(Choice(best[edge].operation, topology.edges[edge].source) for edge in strong)
    return nodes


def _best_by_edge(mixing: CellMixing, space: CellSpace, rank: EdgeRank) -> list[_Best]:
    edges = [1.0] * len(space.candidates) if mixing.edges_E is None else mixing.edges_E.tolist()
    best = []
    for weights_O, names, edge in zip(mixing.weights_EO.tolist(), space.candidates, edges, strict=True):
        may_win = [(weight, name) for weight, name in zip(weights_O, names, strict=True) if space.may_win(name)]
        weight, name = max(may_win, key=lambda pair: pair[0])  # the first of equals
        best.append(_Best(name, weight * edge, edge if rank == "edge" else weight * edge))
    return best


def _dead_nodes(best: list[_Best], topology: Topology, keep: Keep) -> set[int]:
    """Return the rivals that lose: all but the one whose best edge is strongest; the earlier of equals wins."""
    if not keep.rivals:
        return set()
    strength = {node: max(best[edge].product for edge in topology.incoming[node]) for node in keep.rivals}
    winner = max(keep.rivals, key=lambda node: strength[node])
    return {node for node in keep.rivals if node != winner}


def at_most_skips(discretize: Discretizer, most: int) -> Discretizer:
    """Allow the normal (main) cell ``most`` skip connections: forbid the weakest used and pick again (P-DARTS, 3.3).

    Picking again may bring in other skips, hence one at a time. Where only skips are left, more than ``most`` stay.
    """

    def restricted(mixing: Mixing, space: Space) -> Genotype:
        genotype = discretize(mixing, space)
        main, cell = mixing.main, space.cells.main
        while genotype.main.skips > most:
            products_EO = main.products()
            used = [
                (edge, cell.candidates[edge].index(SKIP))
                for node, choices in genotype.main.by_state
                for edge in (cell.topology.position[Edge(source, node)] for name, source in choices if name == SKIP)
            ]
            weakest = min(used, key=lambda pair: float(products_EO[pair]))
            if float(main.weights_EO[weakest]) == -torch.inf:
                break
            weights_EO = main.weights_EO.clone()
            weights_EO[weakest] = -torch.inf
            main = replace(main, weights_EO=weights_EO)
            genotype = discretize(Mixing({**mixing, mixing.main_kind: main}), space)
        return genotype

    restricted.__name__ = f"{discretize.__name__}, at most {most} skips in the normal cell"
    return restricted


def strongest_candidates(mixing: Mixing, space: Space, keep: int) -> Space:
    """Keep on every edge the ``keep`` candidates that weigh most, in their old order; ``none`` is like any other."""
    return space.with_candidates(
        Candidates(
            (
                kind,
                tuple(
                    tuple(names[i] for i in _heaviest(weights_O, keep))
                    for weights_O, names in zip(mixing[kind].weights_EO.tolist(), edges, strict=True)
                ),
            )
            for kind, edges in space.candidates.items()
        )
    )


def _heaviest(weights_O: Sequence[float], keep: int) -> list[int]:
    return sorted(sorted(range(len(weights_O)), key=lambda i: -weights_O[i])[:keep])
