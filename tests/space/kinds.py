"""What has a normal and a reduction cell, made from the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from nascommon.space.genotype import DARTS_KINDS
from nascommon.space.kinds import PerKind
from nascommon.space.space import Candidates, CellSpace, Space
from nascommon.space.spaces import DARTS
from nascommon.space.topology import Topology

Cell = TypeVar("Cell")
Made = TypeVar("Made")


def two(of: Callable[[Iterable[tuple[str, Cell]]], Made], *cells: Cell) -> Made:
    """Return ``of`` the normal and the reduction cell, in this order."""
    return of(zip(DARTS_KINDS, cells, strict=True))


def space_of(operations: tuple[str, ...] | Candidates, topology: Topology = Topology()) -> Space:
    """Return a space of normal and reduction cells with these candidates: on every edge the same, or edge by edge."""
    if not isinstance(operations, PerKind):
        edges = (operations,) * len(topology.edges)
        operations = two(Candidates, edges, edges)
    cells = ((kind, CellSpace(topology, names)) for kind, names in operations.items())
    return Space("test", DARTS, PerKind(cells))


def cell_space(operations: tuple[str, ...], topology: Topology = Topology()) -> CellSpace:
    """Return one kind of cell with the same candidates on every edge."""
    return space_of(operations, topology).cells.main
