"""A genotype says which operations on which inputs feed each node of every kind of cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from nascommon.settings import UserError, nearest
from nascommon.space.kinds import PerKind
from nascommon.space.operations import OPERATIONS
from nascommon.space.skeleton import SKELETONS

SCHEMA = 1
DARTS_KINDS = ("normal", "reduction")
"""The kinds of cells of the DARTS space and its skeleton, of which every genotype is that names no other."""
DARTS_INPUTS = 2
RELEASED_INPUTS = 2
"""The released codes write a flat list with exactly two inputs per node."""


class Choice(NamedTuple):
    """An operation applied to the state ``source``."""

    operation: str
    source: int


@dataclass(frozen=True)
class CellGenotype:
    """One cell: per intermediate node its inputs (any number), and the states that are concatenated.

    A node without inputs is dead: where it is concatenated its channels are zero, and it feeds no other node unless
    the skeleton has dead inputs.

    Attributes:
        nodes: by node its choices.
        concat: states whose channels are the cell's output.
        inputs: states before the first node.
        dead_inputs: whether a node may read one that is dead.
    """

    nodes: tuple[tuple[Choice, ...], ...]
    concat: tuple[int, ...]
    inputs: int = DARTS_INPUTS
    dead_inputs: bool = False

    def __post_init__(self) -> None:
        for state, choices in self.by_state:
            for choice in choices:
                _check_choice(choice, state)
        states = range(self.inputs, self.inputs + len(self.nodes))
        if not self.concat or len(set(self.concat)) != len(self.concat) or not set(self.concat) <= set(states):
            raise UserError(
                f"concat must list different intermediate nodes out of {list(states)} (got {list(self.concat)})"
            )
        if not self.dead_inputs:
            self._check_alive()

    def _check_alive(self) -> None:
        dead = {state for state, choices in self.by_state if not choices}
        for state in sorted({choice.source for choices in self.nodes for choice in choices} & dead):
            raise UserError(f"node {state} has no input but is one; give it an input or use another source")
        if dead.issuperset(self.concat):
            raise UserError(f"concat needs a node that has an input (got {list(self.concat)})")

    @property
    def by_state(self) -> Iterable[tuple[int, tuple[Choice, ...]]]:
        """The number of each node's state, and its choices."""
        return enumerate(self.nodes, start=self.inputs)

    @property
    def skips(self) -> int:
        """Number of edges that are skip connections."""
        return sum(choice.operation == "skip_connect" for choices in self.nodes for choice in choices)

    @property
    def edges(self) -> int:
        """Number of edges that are kept."""
        return sum(len(choices) for choices in self.nodes)


class Genotype(PerKind[CellGenotype]):
    """The cells of an architecture, and the name of the skeleton that makes a network of them."""

    def __init__(
        self, cells: Mapping[str, CellGenotype] | Iterable[tuple[str, CellGenotype]], skeleton: str = "darts"
    ) -> None:
        super().__init__(cells)
        self.skeleton = skeleton

    def _key(self) -> tuple[Any, ...]:
        return (self.skeleton, *super()._key())

    def to_json(self) -> dict[str, Any]:
        """Return our JSON form, schema 1: per-node lists of [operation, source], and any skeleton but DARTS'."""
        skeleton = {} if self.skeleton == "darts" else {"skeleton": self.skeleton}
        return {"schema": SCHEMA, **skeleton, **{kind: _cell_to_json(cell) for kind, cell in self.items()}}

    def __str__(self) -> str:
        return " / ".join(f"{kind}: {format_cell(cell)}" for kind, cell in self.items())


def format_cell(cell: CellGenotype) -> str:
    """Write a cell on one line: ``sep_conv_3x3@0 skip_connect@1 | ...``, a bar between nodes."""
    return " | ".join(" ".join(f"{choice.operation}@{choice.source}" for choice in node) or "-" for node in cell.nodes)


def genotype_from_json(tree: Any, origin: str = "genotype") -> Genotype:
    """Read a genotype from JSON: our own schema, or the flat lists of the released codes.

    Args:
        tree: parsed JSON.
        origin: what to call the source in an error, such as a file name.

    Raises:
        UserError: naming ``origin``, the key and what is wrong.
    """
    if not isinstance(tree, dict):
        raise UserError(f"{origin}: a genotype is a JSON object (got {type(tree).__name__})")
    try:
        if "normal_concat" in tree or "reduce" in tree or isinstance(tree.get("normal"), list):
            return _from_released(tree)
        if tree.get("schema") != SCHEMA:
            raise UserError(f"schema: must be {SCHEMA} (got {tree.get('schema')!r})")
        return _from_json(tree)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


def _from_json(tree: dict[str, Any]) -> Genotype:
    name = tree.get("skeleton", "darts")
    if not isinstance(name, str) or name not in SKELETONS:
        raise UserError(f"skeleton: unknown {name!r}{nearest(str(name), list(SKELETONS))}")
    skeleton = SKELETONS[name]
    read = partial(_cell_from_json, tree, inputs=skeleton.inputs, dead_inputs=skeleton.keeps_none)
    return Genotype(((kind, read(kind)) for kind in skeleton.kinds), name)


def _cell_to_json(cell: CellGenotype) -> dict[str, Any]:
    return {"nodes": [[list(choice) for choice in node] for node in cell.nodes], "concat": list(cell.concat)}


def _cell_from_json(tree: dict[str, Any], kind: str, *, inputs: int, dead_inputs: bool) -> CellGenotype:
    cell = tree.get(kind)
    if not isinstance(cell, dict) or not isinstance(cell.get("nodes"), list):
        raise UserError(f"{kind}: must be an object with the lists 'nodes' and 'concat'")
    return _cell(kind, cell["nodes"], cell.get("concat"), inputs, dead_inputs=dead_inputs)


def _from_released(tree: dict[str, Any]) -> Genotype:
    cells = []
    for key in ("normal", "reduce"):
        inputs = tree.get(key)
        if not isinstance(inputs, list):
            raise UserError(f"{key}: must be a list with two [operation, source] pairs per node (got {inputs!r})")
        cells.append(_cell(key, _nodes(key, inputs), tree.get(f"{key}_concat")))
    return Genotype(zip(DARTS_KINDS, cells, strict=True))


def _nodes(key: str, inputs: list[Any]) -> list[Any]:
    """Return a list per node: as it is where there is one already, else two pairs of the flat list each."""
    if inputs and all(isinstance(node, list) and all(isinstance(pair, list) for pair in node) for node in inputs):
        return inputs
    if len(inputs) % RELEASED_INPUTS:
        raise UserError(f"{key}: must be a list with two [operation, source] pairs per node (got {inputs!r})")
    return [inputs[i : i + RELEASED_INPUTS] for i in range(0, len(inputs), RELEASED_INPUTS)]


def _cell(
    kind: str, nodes: list[Any], concat: Any, inputs: int = DARTS_INPUTS, *, dead_inputs: bool = False
) -> CellGenotype:
    if not isinstance(concat, list) or not all(type(state) is int for state in concat):
        raise UserError(f"{kind} concat: must be a list of node numbers (got {concat!r})")
    try:
        choices = tuple(tuple(_choice(pair) for pair in _list(node)) for node in nodes)
        return CellGenotype(choices, tuple(concat), inputs, dead_inputs)
    except UserError as error:
        raise UserError(f"{kind}: {error}") from error


def _list(node: Any) -> list[Any]:
    if not isinstance(node, list):
        raise UserError(f"a node is a list of [operation, source] pairs (got {node!r})")
    return node


def _choice(pair: Any) -> Choice:
    match pair:
        case [str(operation), int(source)] if type(source) is int:
            return Choice(operation, source)
    raise UserError(f"an input is a pair [operation, source] (got {pair!r})")


def _check_choice(choice: Choice, state: int) -> None:
    if choice.operation not in OPERATIONS or choice.operation == "none":
        known = ", ".join(name for name in OPERATIONS if name != "none")
        raise UserError(f"node {state}: unknown operation {choice.operation!r} (known: {known})")
    if not 0 <= choice.source < state:
        raise UserError(f"node {state}: source must be an earlier state 0..{state - 1} (got {choice.source})")
