"""The discrete space that a search chooses from: which operations on how many nodes, by whatever method."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nascommon.settings import Nodes, Settings
from nascommon.space.mixing import Candidates, uniform_candidates
from nascommon.space.operations import OPERATIONS
from nascommon.space.topology import Topology

FILE = "space.json"


class DiscreteSpace(Settings):
    """What the genotypes of a search can hold, and so what a random architecture of its space is drawn from."""

    version: Annotated[Literal[1], Field(alias="schema")] = 1
    nodes: Nodes
    operations: tuple[str, ...]
    """Without ``none``, which no genotype holds, and in one order, so that equal spaces are equal files."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.operations or self.operations != _ordered(self.operations):
            raise ValueError(f"operations: must be some of {', '.join(_ordered(tuple(OPERATIONS)))}, in this order")
        return self

    @staticmethod
    def of(candidates: tuple[str, ...], nodes: int) -> DiscreteSpace:
        """Return the space of a search in which every edge has these candidates."""
        return DiscreteSpace(nodes=nodes, operations=_ordered(candidates))

    def topology(self) -> Topology:
        """Return the cells' edges."""
        return Topology(self.nodes)

    def candidates(self) -> Candidates:
        """Return the operations of every edge."""
        return uniform_candidates(self.operations, self.topology())


def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in OPERATIONS if name in names and name != "none")
