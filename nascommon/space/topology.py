"""A cell is a small graph: two inputs, some nodes, and an edge from every earlier state into each node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

INPUTS = 2
"""States 0 and 1 of a cell are the outputs of the two cells before it."""


class Edge(NamedTuple):
    """A connection from state ``source`` into intermediate node ``node``, both as state indices."""

    source: int
    node: int


@dataclass(frozen=True)
class Topology:
    """The edges of a cell with ``nodes`` intermediate nodes, ordered by node, then by source."""

    nodes: int = 4

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"a cell needs at least one node, got {self.nodes}")

    @property
    def node_states(self) -> range:
        """State indices of the intermediate nodes."""
        return range(INPUTS, INPUTS + self.nodes)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges; 14 for the 4 nodes of the papers."""
        return tuple(Edge(source, node) for node in self.node_states for source in range(node))

    @cached_property
    def incoming(self) -> dict[int, range]:
        """For each node, the positions in ``edges`` of the edges that enter it."""
        starts = {node: sum(range(INPUTS, node)) for node in self.node_states}
        return {node: range(start, start + node) for node, start in starts.items()}

    @cached_property
    def leaving(self) -> dict[int, tuple[int, ...]]:
        """For each state but the last, the positions in ``edges`` of the edges that leave it."""
        states = range(self.node_states.stop - 1)
        return {state: tuple(i for i, edge in enumerate(self.edges) if edge.source == state) for state in states}


def reduction_cells(cells: int) -> frozenset[int]:
    """Indices of the cells that halve height and width and double the channels: at one and two thirds of the depth."""
    return frozenset({cells // 3, 2 * cells // 3})


def stride(edge: Edge, *, reduction: bool) -> int:
    """Return 2 on the edges of a reduction cell that start at a cell input, else 1."""
    return 2 if reduction and edge.source < INPUTS else 1
