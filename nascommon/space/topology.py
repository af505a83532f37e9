"""A cell is a small graph: its inputs, some nodes, and an edge from every earlier state into each node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class Edge(NamedTuple):
    """A connection from state ``source`` into intermediate node ``node``, both as state indices."""

    source: int
    node: int


@dataclass(frozen=True)
class Topology:
    """The edges of a cell, ordered by node, then by source; the defaults are the cell of the DARTS papers.

    Attributes:
        nodes: intermediate nodes.
        inputs: states before the first node, which are the outputs of as many cells before.
        concat: state indices of the nodes that are the cell's output, the first node's being ``inputs``; empty is all.
    """

    nodes: int = 4
    inputs: int = 2
    concat: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"a cell needs at least one node, got {self.nodes}")
        if self.inputs < 1:
            raise ValueError(f"a cell needs at least one input, got {self.inputs}")
        if len(set(self.concat)) != len(self.concat) or not set(self.concat) <= set(self.node_states):
            states = ", ".join(map(str, self.node_states))
            raise ValueError(f"concat: must be different states of nodes out of {states} (got {list(self.concat)})")

    @property
    def node_states(self) -> range:
        """State indices of the intermediate nodes."""
        return range(self.inputs, self.inputs + self.nodes)

    @property
    def outputs(self) -> tuple[int, ...]:
        """State indices of the nodes that are concatenated."""
        return self.concat or tuple(self.node_states)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges; 14 for the 4 nodes of the papers."""
        return tuple(Edge(source, node) for node in self.node_states for source in range(node))

    @cached_property
    def incoming(self) -> dict[int, range]:
        """Positions in ``edges`` of the edges that enter each node."""
        starts = {node: sum(range(self.inputs, node)) for node in self.node_states}
        return {node: range(start, start + node) for node, start in starts.items()}

    @cached_property
    def leaving(self) -> dict[int, tuple[int, ...]]:
        """Positions in ``edges`` of the edges that leave each state but the last."""
        states = range(self.node_states.stop - 1)
        return {state: tuple(i for i, edge in enumerate(self.edges) if edge.source == state) for state in states}

    @cached_property
    def position(self) -> dict[Edge, int]:
        """Position of each edge in ``edges``."""
        return {edge: index for index, edge in enumerate(self.edges)}


def stride(source: int, inputs: int, *, halving: bool) -> int:
    """Return 2 on the edges of a halving cell that start at one of the cell's inputs, else 1."""
    return 2 if halving and source < inputs else 1
