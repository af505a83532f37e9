"""Cells of NAS-Bench-201 as its strings and its table write them, and which of them are isomorphic.

A string lists for each node its edges, ``operation~source``: ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|``. The
table has a digit for each of the six edges, in the same order: the position of the operation in ``OPERATION_ORDER``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from nascommon.settings import UserError, nearest
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.nasbench201 import KIND, NAME, OPERATION_ORDER, TOPOLOGY
from nascommon.space.space import NONE
from nascommon.space.topology import Edge

FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
_ZERO = "#"


def from_string(text: str) -> Genotype:
    """Read a string of the benchmark.

    Raises:
        UserError: it has another form, or names another operation.
    """
    text = text.strip()
    operations = re.findall(r"(\w+)~", text)
    if len(operations) != len(TOPOLOGY.edges) or _written(operations) != text:
        raise UserError(f"a cell of {NAME} is written {FORM} (got {text[:200]!r})")
    return _genotype(operations)


def to_string(genotype: Genotype) -> str:
    """Write a genotype as the benchmark does.

    Raises:
        UserError: it is no cell of this space.
    """
    return _written(_operations(genotype))


def from_digits(digits: str) -> Genotype:
    """Read six digits of the benchmark's table.

    Raises:
        UserError: they are not six, or not from 0 to 4.
    """
    if not re.fullmatch(rf"[0-{len(OPERATION_ORDER) - 1}]{{{len(TOPOLOGY.edges)}}}", digits):
        raise UserError(
            f"a cell of {NAME} has {len(TOPOLOGY.edges)} digits from 0 to {len(OPERATION_ORDER) - 1} (got {digits!r})"
        )
    return _genotype([OPERATION_ORDER[int(digit)] for digit in digits])


def to_digits(genotype: Genotype) -> str:
    """Write a genotype as six digits.

    Raises:
        UserError: it is no cell of this space.
    """
    return "".join(str(OPERATION_ORDER.index(name)) for name in _operations(genotype))


def all_genotypes() -> Iterator[Genotype]:
    """Yield all 15,625 cells, in the order of their digits."""
    return map(_genotype, itertools.product(OPERATION_ORDER, repeat=len(TOPOLOGY.edges)))


def canonical(genotype: Genotype) -> str:
    """Return a key that isomorphic cells share: 6,466 of them, as the benchmark counts (its code's ``to_unique_str``).

    The output is expanded to a sum of terms: an edge without operation is zero, and so is one out of a first node
    without input; a skip connection is its source; the terms of a node are sorted. Cells with different keys may
    compute the same function: zeros are counted, and what a skip passes on is not sorted among the other terms.

    Raises:
        UserError: it is no cell of this space.
    """
    operations = iter(_operations(genotype))
    states = ["input"]
    for incoming in TOPOLOGY.incoming.values():
        states.append("+".join(sorted(_term(next(operations), states[source]) for source in range(len(incoming)))))
    return states[-1]


def _term(operation: str, source: str) -> str:
    if operation == NONE or source == _ZERO:
        return _ZERO
    return source if operation == "skip_connect" else f"({source})@{operation}"


def _genotype(operations: Sequence[str]) -> Genotype:
    """Return the cell with these operations on its edges, ``none`` included."""
    for name in operations:
        if name not in OPERATION_ORDER:
            raise UserError(f"unknown operation {name!r} of {NAME}{nearest(name, list(OPERATION_ORDER))}")
    nodes = (
        tuple(Choice(operations[edge], TOPOLOGY.edges[edge].source) for edge in incoming if operations[edge] != NONE)
        for incoming in TOPOLOGY.incoming.values()
    )
    cell = CellGenotype(tuple(nodes), TOPOLOGY.outputs, TOPOLOGY.inputs, dead_inputs=True)
    return Genotype({KIND: cell}, NAME)


def _operations(genotype: Genotype) -> list[str]:
    """Return the operation on every edge, ``none`` where there is no edge."""
    if genotype.skeleton != NAME:
        raise UserError(f"is a genotype of {genotype.skeleton}, not of {NAME}")
    cell = genotype.main
    if (len(cell.nodes), cell.concat) != (TOPOLOGY.nodes, TOPOLOGY.outputs):
        raise UserError(
            f"a cell of {NAME} has {TOPOLOGY.nodes} nodes and concat {list(TOPOLOGY.outputs)} "
            f"(got {len(cell.nodes)} and {list(cell.concat)})"
        )
    found: dict[Edge, str] = {}
    for node, choices in cell.by_state:
        for choice in choices:
            edge = Edge(choice.source, node)
            if edge in found or edge not in TOPOLOGY.position or choice.operation not in OPERATION_ORDER:
                raise UserError(f"node {node}: {choice.operation}@{choice.source} does not fit a cell of {NAME}")
            found[edge] = choice.operation
    return [found.get(edge, NONE) for edge in TOPOLOGY.edges]


def _written(operations: Sequence[str]) -> str:
    edges = [f"{name}~{edge.source}|" for name, edge in zip(operations, TOPOLOGY.edges, strict=True)]
    return "+".join("|" + "".join(edges[incoming.start : incoming.stop]) for incoming in TOPOLOGY.incoming.values())
