"""One naming of the states of a cell, in every picture and table: the numbers of the genotype."""

from __future__ import annotations

from nascommon.space.genotype import CellGenotype

OUTPUT = "out"


def edge_name(source: int, node: int) -> str:
    """Name an edge by the states that it joins."""
    return f"{source} → {node}"


def naming_in_short(cell: CellGenotype) -> str:
    """Explain the same on a line, for the foot of a drawing."""
    inputs = "0: the cell before" if cell.inputs == 1 else f"0 to {cell.inputs - 1}: the cells before, nearest last"
    return f"{inputs};  {cell.inputs} to {cell.inputs + len(cell.nodes) - 1}: nodes;  {OUTPUT}: output"


def naming(cell: CellGenotype) -> str:
    """Explain how the states of a cell are named."""
    last = cell.inputs + len(cell.nodes) - 1
    inputs = "0 is the output of the cell before"
    if cell.inputs > 1:
        inputs = f"0 to {cell.inputs - 1} are the outputs of the cells before, the nearest last"
    return (
        f"States are numbered as in the genotype: {inputs}; {cell.inputs} to {last} are the cell's nodes; "
        f"“{OUTPUT}” is its output. An operation stands on the edge from the state that it reads to the node that adds "
        "it up; in text sep_conv_3x3@1 is that operation reading state 1."
    )
