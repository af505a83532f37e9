"""A space is what can be searched: kinds of cells, their graphs, and what every edge may become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from nascommon.settings import nearest
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.kinds import PerKind
from nascommon.space.operations import OPERATIONS
from nascommon.space.skeleton import SKELETONS, Skeleton
from nascommon.space.topology import Topology

EdgeCandidates = tuple[tuple[str, ...], ...]
"""Names of the candidates of every edge of a cell, in the order of their mixing weights."""
Candidates = PerKind[EdgeCandidates]
"""The candidates of every edge of every kind of cell."""
INPUTS_PER_NODE = 2
"""Edges that every node keeps in the evaluation networks of the DARTS papers."""
NONE = "none"
Setting = Literal["nodes", "candidates"]
"""A key of ``search`` that changes a space."""


@dataclass(frozen=True)
class CellSpace:
    """The choices that one kind of cell leaves open.

    Attributes:
        topology: its graph.
        candidates: of every edge; other names on every edge where that is wanted, but equally many on all, for the
            mixing weights are a matrix.
        kept: edges that a node keeps, as far as it has them.
        keeps_none: whether ``none`` may win an edge, which then is not there; otherwise no genotype holds it.
        none_wins: False where the user does not let it win although it could.
    """

    topology: Topology
    candidates: EdgeCandidates
    kept: int = INPUTS_PER_NODE
    keeps_none: bool = False
    none_wins: bool = True

    def __post_init__(self) -> None:
        edges = len(self.topology.edges)
        if len(self.candidates) != edges or len({len(names) for names in self.candidates}) != 1:
            raise ValueError(f"must list equally many candidates for each of {edges} edges")
        if unknown := sorted({name for names in self.candidates for name in names} - OPERATIONS.keys()):
            raise ValueError(f"unknown operation {unknown[0]!r}{nearest(unknown[0], list(OPERATIONS))}")
        if self.operations == 0:
            raise ValueError("every edge needs a candidate")

    def may_win(self, name: str) -> bool:
        """Return whether a genotype may hold a candidate."""
        return name != NONE or (self.keeps_none and self.none_wins)

    @property
    def operations(self) -> int:
        """Number of candidates of an edge."""
        return len(self.candidates[0])

    @property
    def kept_by_node(self) -> tuple[int, ...]:
        """Edges that each node keeps, whether or not it has so many."""
        return (self.kept,) * self.topology.nodes

    def genotype(self, nodes: Iterable[tuple[Choice, ...]], concat: Iterable[int]) -> CellGenotype:
        """Return a cell of this graph; edges on which ``none`` has won are left out."""
        real = tuple(tuple(choice for choice in choices if choice.operation != NONE) for choices in nodes)
        return CellGenotype(real, tuple(concat), self.topology.inputs, self.keeps_none)


@dataclass(frozen=True)
class Space:
    """A search space: one argument wherever an architecture is dealt with.

    Attributes:
        name: by which ``search.space`` names it.
        skeleton: how its cells become networks.
        cells: what each kind of cell may become, in the order of the skeleton.
        settable: which of ``search.nodes`` and ``search.candidates`` the user may set.
    """

    name: str
    skeleton: Skeleton
    cells: PerKind[CellSpace]
    settable: frozenset[Setting] = frozenset()

    def __post_init__(self) -> None:
        if tuple(self.cells) != self.skeleton.kinds:
            kinds = ", ".join(self.skeleton.kinds)
            raise ValueError(
                f"space {self.name}: kinds of cells must be {kinds}, in this order (got {', '.join(self.cells)})"
            )
        for kind, cell in self.cells.items():
            for name, got, wanted in (
                ("inputs", cell.topology.inputs, self.skeleton.inputs),
                ("keeps_none", cell.keeps_none, self.skeleton.keeps_none),
            ):
                if got != wanted:
                    raise ValueError(
                        f"space {self.name}: {name} of cell {kind} must be its skeleton's {wanted} (got {got})"
                    )

    @property
    def candidates(self) -> Candidates:
        """The candidates of every edge."""
        return PerKind((kind, cell.candidates) for kind, cell in self.cells.items())

    @property
    def largest(self) -> int:
        """Most operations that a cell has over all its edges."""
        return max(cell.operations * len(cell.candidates) for cell in self.cells.values())

    def genotype(self, cells: Iterable[tuple[str, CellGenotype]]) -> Genotype:
        """Return an architecture of this space."""
        return Genotype(cells, self.skeleton.name)

    def with_candidates(self, candidates: Candidates) -> Space:
        """Return the space with other candidates on its edges, as a phase of a search leaves them.

        Raises:
            ValueError: they do not fit the edges.
        """
        cells = ((kind, replace(cell, candidates=candidates[kind])) for kind, cell in self.cells.items())
        return replace(self, cells=PerKind(cells))

    def without_none(self) -> Space:
        """Return the space whose edges cannot become ``none``; itself where none could.

        Raises:
            ValueError: edges are left with different numbers of candidates.
        """
        real = ((kind, tuple(map(_real, edges))) for kind, edges in self.candidates.items())
        return self.with_candidates(PerKind(real))

    def with_none(self, *, wins: bool) -> Space:
        """Return the space whose edges ``none`` may win or not, although it takes part in the search."""
        cells = ((kind, replace(cell, none_wins=wins)) for kind, cell in self.cells.items())
        return replace(self, cells=PerKind(cells))

    def with_nodes(self, nodes: int) -> Space:
        """Return the space whose cells have other numbers of nodes and on every edge the same candidates as now."""
        cells = ((kind, _with_nodes(cell, replace(cell.topology, nodes=nodes))) for kind, cell in self.cells.items())
        return replace(self, cells=PerKind(cells))


def _with_nodes(cell: CellSpace, topology: Topology) -> CellSpace:
    return replace(cell, topology=topology, candidates=(cell.candidates[0],) * len(topology.edges))


def _real(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != NONE)


def uniform_cell(operations: tuple[str, ...], topology: Topology) -> CellSpace:
    """Return a cell on every edge of which are the same candidates."""
    return CellSpace(topology, (operations,) * len(topology.edges))


SPACES: dict[str, Space] = {}
"""Every space by name; ``nascommon.space.spaces`` fills it."""


def register(space: Space) -> Space:
    """Enter a space, and its skeleton with it, so that ``search.space`` can name it."""
    if space.name in SPACES:
        raise ValueError(f"space {space.name}: there is one of that name already")
    if SKELETONS.setdefault(space.skeleton.name, space.skeleton) is not space.skeleton:
        raise ValueError(f"space {space.name}: there is another skeleton of the name {space.skeleton.name}")
    SPACES[space.name] = space
    return space


def find_space(
    name: str,
    nodes: int | None = None,
    candidates: tuple[str, ...] | None = None,
    none_wins: bool | None = None,
) -> Space:
    """Return a space as a user wants it.

    Args:
        name: of the space.
        nodes: of each cell; None takes the space's own.
        candidates: of every edge; None takes the space's own.
        none_wins: whether ``none`` may win an edge; None takes what the space says.

    Raises:
        ValueError: the space cannot be had so; the message begins with the key.
    """
    space = SPACES[name]
    if nodes is not None and nodes != space.cells.main.topology.nodes:
        if "nodes" not in space.settable:
            raise ValueError(f"nodes: the cells of space {name} have their own numbers; set nodes: null (got {nodes})")
        space = space.with_nodes(nodes)
    if candidates is not None:
        if "candidates" not in space.settable:
            raise ValueError(f"candidates: space {name} has its own; leave them out, or take space darts")
        known = space.skeleton.operations
        if known and (foreign := [name for name in candidates if name not in known]):
            raise ValueError(f"candidates: space {name} has {', '.join(known)} (got {foreign[0]})")
        same = ((kind, (candidates,) * len(cell.topology.edges)) for kind, cell in space.cells.items())
        space = space.with_candidates(PerKind(same))
    return space if none_wins is None else _with_none(space, wins=none_wins)


def _with_none(space: Space, *, wins: bool) -> Space:
    if space.skeleton.keeps_none:
        return space.with_none(wins=wins)
    if wins:
        raise ValueError(f"none_wins: in space {space.name} none never wins an edge; leave the key out (got true)")
    return space
