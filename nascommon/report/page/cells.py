"""The cells as drawings of the page: the same layout as in the files, in the page's own colours."""

from __future__ import annotations

from nascommon.report.drawing import CellGraph, Line, cell_graph, ports
from nascommon.report.figures import operation_family
from nascommon.report.layout import Layout, place
from nascommon.report.naming import naming
from nascommon.report.page.files import Files
from nascommon.report.page.section import Picture, Section
from nascommon.report.page.svg import Svg
from nascommon.space.genotype import CellGenotype, format_cell, genotype_from_json
from nascommon.space.kinds import cell_of

UNITS_PER_INCH = 78
MARGIN = 12


def cells(files: Files) -> Section:
    """Draw every kind of cell."""
    genotype = genotype_from_json(files.json("data/discretize/genotype.json"), "genotype.json")
    pictures = tuple(
        Picture(draw_cell(cell, kind).markup(), f"{cell_of(kind)}", format_cell(cell), shape="wide")
        for kind, cell in genotype.items()
    )
    return Section("cells", "The cells", text=(naming(genotype.main),), pictures=pictures)


def draw_cell(cell: CellGenotype, kind: str) -> Svg:
    """Draw one cell from its inputs on the left to its output on the right."""
    graph = cell_graph(cell)
    pairs = [pair for line in graph.lines for pair in zip(line.boxes, line.boxes[1:], strict=False)]
    layout = place(graph.boxes, pairs, upper=0, lower=graph.inputs - 1)
    width, height = (UNITS_PER_INCH * side + 2 * MARGIN for side in (layout.width, layout.height))
    svg = Svg(width, height, f"The {cell_of(kind)}: {format_cell(cell)}")
    leaving, arriving = ports(graph, layout, end=0), ports(graph, layout, end=-1)
    for number, line in enumerate(graph.lines):
        _line(svg, graph, layout, line, (leaving[number], arriving[number]))
    for state, name in enumerate(graph.names):
        _box(svg, graph, layout, state, name)
    return svg


def _at(svg: Svg, x: float, y: float) -> tuple[float, float]:
    return MARGIN + UNITS_PER_INCH * x, svg.height - MARGIN - UNITS_PER_INCH * y


def _box(svg: Svg, graph: CellGraph, layout: Layout, state: int, name: str) -> None:
    box = graph.boxes[state]
    x, y = _at(svg, layout.x[state], layout.y[state])
    width, height = box.width * UNITS_PER_INCH, box.height * UNITS_PER_INCH
    kind = "input" if state < graph.inputs else "output" if state == len(graph.names) - 1 else "node"
    dead = " dead" if state in graph.dead else ""
    svg.add(
        "rect", x=x - width / 2, y=y - height / 2, width=width, height=height, rx=7, class_=f"state {kind}{dead}"
    )  # fmt: skip
    svg.text(x, y + 5, name, f"state-name{dead}")


def _line(svg: Svg, graph: CellGraph, layout: Layout, line: Line, shifts: tuple[float, float]) -> None:
    """Draw one edge: level through the columns, curved between them, an arrowhead at its end."""
    class_ = "to-output" if line.operation is None else f"op {operation_family(line.operation)}"
    for here, there in zip(line.boxes, line.boxes[1:], strict=False):
        first, last = here == line.boxes[0], there == line.boxes[-1]
        half, other = graph.boxes[here].width / 2, graph.boxes[there].width / 2
        start = _at(svg, layout.x[here] + half, layout.y[here] + (shifts[0] if first else 0))
        stop = _at(svg, layout.x[there] - other, layout.y[there] + (shifts[1] if last else 0))
        left = _at(svg, layout.borders[graph.boxes[here].column][1], 0)[0]
        right = _at(svg, layout.borders[graph.boxes[there].column][0], 0)[0]
        middle = (left + right) / 2
        end = right - 6 if last else right
        shape = (
            f"M{start[0]:.1f},{start[1]:.1f} H{left:.1f} C{middle:.1f},{start[1]:.1f} {middle:.1f},{stop[1]:.1f} "
            f"{end:.1f},{stop[1]:.1f} H{stop[0] - (6 if last else 0):.1f}"
        )
        svg.add("path", d=shape, class_=f"edge {class_}")
        if last:
            x, y = stop
            svg.add("path", d=f"M{x:.1f},{y:.1f} l-9,-4 v8 Z", class_=f"head {class_}")
        elif line.operation is not None and graph.boxes[there].width:
            x, y = _at(svg, layout.x[there], layout.y[there])
            svg.text(x, y + 4, line.operation, f"op-name {operation_family(line.operation)}")
