"""A space on disk: what a supernet was searched in, and what the random architectures are drawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nascommon.settings import Count, Nodes, Settings, nearest
from nascommon.space.kinds import PerKind
from nascommon.space.operations import OPERATIONS
from nascommon.space.skeleton import SKELETONS
from nascommon.space.space import CellSpace, Space
from nascommon.space.topology import Topology

FILE = "space.json"


class CellRecord(Settings):
    """Choices that one kind of cell leaves open, as JSON."""

    nodes: Nodes
    concat: tuple[int, ...]
    kept: Count
    candidates: tuple[tuple[str, ...], ...]
    none_wins: bool = True

    @staticmethod
    def of(cell: CellSpace) -> CellRecord:
        """Return the record of a kind of cell."""
        topology = cell.topology
        return CellRecord(
            nodes=topology.nodes,
            concat=topology.concat,
            kept=cell.kept,
            candidates=cell.candidates,
            none_wins=cell.none_wins,
        )


class SpaceRecord(Settings):
    """A space as JSON; it names its skeleton and holds the rest."""

    version: Annotated[Literal[2], Field(alias="schema")] = 2
    space: str
    skeleton: str
    cells: dict[str, CellRecord]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.skeleton not in SKELETONS:
            raise ValueError(f"skeleton: unknown {self.skeleton!r}{nearest(self.skeleton, list(SKELETONS))}")
        if tuple(self.cells) != (kinds := SKELETONS[self.skeleton].kinds):
            raise ValueError(f"cells: must be {' and '.join(kinds)} (got {' and '.join(self.cells) or 'none'})")
        for kind, cell in self.cells.items():
            try:
                self._cell(cell)
            except ValueError as error:
                raise ValueError(f"cells.{kind}.candidates: {error}") from error
        return self

    @staticmethod
    def of(space: Space) -> SpaceRecord:
        """Return the record of a space."""
        cells = {kind: CellRecord.of(cell) for kind, cell in space.cells.items()}
        return SpaceRecord(space=space.name, skeleton=space.skeleton.name, cells=cells)

    @staticmethod
    def for_baseline(space: Space) -> SpaceRecord:
        """Return the record of what a random architecture is drawn from: equal for all methods that search the space.

        Candidates that no genotype holds are left out, and the others are in one order whatever the user's.
        """
        order = list(OPERATIONS).index
        cells = {
            kind: replace(cell, candidates=tuple(tuple(sorted(filter(cell.may_win, e), key=order)) for e in edges))
            for (kind, cell), edges in zip(space.cells.items(), space.candidates.values(), strict=True)
        }
        return SpaceRecord.of(replace(space, cells=PerKind(cells)))

    def open(self) -> Space:
        """Return the space; nothing of it can be set any more."""
        cells = ((kind, self._cell(cell)) for kind, cell in self.cells.items())
        return Space(self.space, SKELETONS[self.skeleton], PerKind(cells))

    def _cell(self, cell: CellRecord) -> CellSpace:
        skeleton = SKELETONS[self.skeleton]
        topology = Topology(cell.nodes, skeleton.inputs, cell.concat)
        return CellSpace(topology, cell.candidates, cell.kept, skeleton.keeps_none, cell.none_wins)
