"""A genotype is best understood as a picture: every kind of cell, inputs on the left, output on the right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from nascommon.report.figures import house_style, new_figure, operation_colour, save_figure
from nascommon.report.layout import Box, Layout, place
from nascommon.report.naming import OUTPUT, naming_in_short
from nascommon.space.genotype import CellGenotype, Genotype
from nascommon.space.kinds import cell_of

OUTPUT_COLOUR = "#a9a9a9"
INPUT_FILL, NODE_FILL, OUTPUT_FILL, DEAD_FILL = "#dcefdc", "#dfe9f6", "#fbeecb", "#f7f7f7"
BOX_EDGE, DEAD_EDGE = "#4d4d4d", "#b5b5b5"
TEXT_SIZE, LABEL_SIZE, HEADING_SIZE, TITLE_SIZE, FOOT_SIZE = 11, 10, 11, 13, 8
POINTS_PER_INCH = 72
NODE_WIDTH, NODE_HEIGHT, END_WIDTH = 0.46, 0.42, 0.72
LABEL_HEIGHT, LINE_HEIGHT, LABEL_PADDING = 0.22, 0.12, 0.06
MARGIN, HEADING, TITLE, FOOT = 0.3, 0.4, 0.45, 0.3
LEAST_WIDTH = 4.2
"""Inches, which the line at the foot needs."""
HEAD_LENGTH, HEAD_WIDTH = 0.11, 0.09
PORT = 0.1
"""Distance of two lines where they meet a box."""


@dataclass(frozen=True)
class Line:
    """One edge of the cell: the boxes it runs through, and the operation written on one of them."""

    boxes: tuple[int, ...]
    operation: str | None


@dataclass(frozen=True)
class CellGraph:
    """A cell as boxes and lines; box i is state i, the output comes next, then the places on the lines."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    names: tuple[str, ...]
    dead: frozenset[int]
    inputs: int


def draw_genotype(genotype: Genotype, title: str) -> Figure:
    """Draw every kind of cell, one above the other, edges labelled and coloured by operation."""
    with house_style():
        graphs = [cell_graph(cell) for cell in genotype.values()]
        layouts = [
            place(graph.boxes, [pair for line in graph.lines for pair in _pairs(line)], upper=0, lower=graph.inputs - 1)
            for graph in graphs
        ]
        width = max(LEAST_WIDTH, *(layout.width + 2 * MARGIN for layout in layouts))
        heights = [layout.height + HEADING + MARGIN for layout in layouts]
        top = sum(heights) + FOOT
        figure = new_figure(width, top + TITLE)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(0, top + TITLE))
        axes.axis("off")
        axes.text(width / 2, FOOT / 2, naming_in_short(genotype.main), size=FOOT_SIZE, ha="center", va="center")
        heading = axes.text(width / 2, top + TITLE / 2, title, size=TITLE_SIZE, weight="bold", parse_math=False)
        heading.set(ha="center", va="center")
        for name, graph, layout, height in zip(genotype, graphs, layouts, heights, strict=True):
            axes.text(
                MARGIN, top - HEADING / 2, cell_of(name).capitalize(), size=HEADING_SIZE, weight="bold", va="center"
            )
            _draw_cell(axes, graph, layout, (width - layout.width) / 2, top - height + MARGIN)
            top -= height
    return figure


def save_drawing(genotype: Genotype, path: FilePath, title: str) -> None:
    """Draw a genotype into a `.svg` or `.png` file, atomically; the same genotype gives the same bytes."""
    save_figure(draw_genotype(genotype, title), path)


def cell_graph(cell: CellGenotype) -> CellGraph:
    """Columns by depth: inputs, then alternately labels and nodes, last the output; a dead node stands alone."""
    output = cell.inputs + len(cell.nodes)
    column = [0] * cell.inputs
    for choices in cell.nodes:
        column.append(2 + max((column[choice.source] for choice in choices), default=0))
    column.append(max(column) + 1)
    boxes = [_state_box(column[state], end=state < cell.inputs or state == output) for state in range(output + 1)]
    edges = [(choice.source, state, choice.operation) for state, choices in cell.by_state for choice in choices]
    lines = []
    for source, target, operation in [*edges, *((state, output, None) for state in cell.concat)]:
        stops = range(column[source] + 1, column[target])
        places = tuple(range(len(boxes), len(boxes) + len(stops)))
        boxes += [_line_box(stop, operation if stop == column[target] - 1 else None) for stop in stops]
        lines.append(Line((source, *places, target), operation))
    dead = frozenset(state for state, choices in cell.by_state if not choices)
    names = (*map(str, range(output)), OUTPUT)
    return CellGraph(tuple(boxes), tuple(lines), names, dead, cell.inputs)


def _state_box(column: int, *, end: bool) -> Box:
    return Box(column, END_WIDTH if end else NODE_WIDTH, NODE_HEIGHT)


def _line_box(column: int, operation: str | None) -> Box:
    if operation is None:
        return Box(column, 0.0, LINE_HEIGHT)
    return Box(column, _text_width(operation) + 2 * LABEL_PADDING, LABEL_HEIGHT)


@cache
def _text_width(text: str) -> float:
    return float(TextPath((0, 0), text, size=LABEL_SIZE).get_extents().width) / POINTS_PER_INCH


def _pairs(line: Line) -> list[tuple[int, int]]:
    return list(zip(line.boxes, line.boxes[1:], strict=False))


def _draw_cell(axes: Axes, graph: CellGraph, layout: Layout, left: float, bottom: float) -> None:
    leaving, arriving = ports(graph, layout, end=0), ports(graph, layout, end=-1)
    for number, line in enumerate(graph.lines):
        _draw_line(axes, graph, layout, line, (left, bottom), (leaving[number], arriving[number]))
    output = len(graph.names) - 1
    for state, name in enumerate(graph.names):
        dead = state in graph.dead
        fill = (
            INPUT_FILL if state < graph.inputs else OUTPUT_FILL if state == output else DEAD_FILL if dead else NODE_FILL
        )
        box, x, y = graph.boxes[state], left + layout.x[state], bottom + layout.y[state]
        corner = (x - box.width / 2, y - box.height / 2)
        style = "round,pad=0,rounding_size=0.1"
        edge = DEAD_EDGE if dead else BOX_EDGE
        axes.add_patch(
            FancyBboxPatch(corner, box.width, box.height, style, fc=fill, ec=edge, ls="--" if dead else "-", zorder=3)
        )
        axes.text(x, y, name, size=TEXT_SIZE, color=edge if dead else "black", ha="center", va="center", zorder=4)


def ports(graph: CellGraph, layout: Layout, end: int) -> dict[int, float]:
    """Return the offset in y (inches) of every line at its first box (``end`` 0) or its last (-1).

    Lines that meet at a box touch it side by side, in the order of where they come from.
    """
    offsets: dict[int, float] = {}
    for state in range(len(graph.names)):
        numbers = [number for number, line in enumerate(graph.lines) if line.boxes[end] == state]
        numbers.sort(key=lambda number: layout.y[graph.lines[number].boxes[1 if end == 0 else -2]])
        step = min(PORT, 0.8 * graph.boxes[state].height / max(len(numbers), 1))
        offsets |= {number: (rank - (len(numbers) - 1) / 2) * step for rank, number in enumerate(numbers)}
    return offsets


def _draw_line(
    axes: Axes,
    graph: CellGraph,
    layout: Layout,
    line: Line,
    origin: tuple[float, float],
    ports: tuple[float, float],
) -> None:
    """Level through every column, curved only between columns, so that no line runs through a label."""
    colour = OUTPUT_COLOUR if line.operation is None else operation_colour(line.operation)
    shift = {line.boxes[0]: ports[0], line.boxes[-1]: ports[1]}
    for here, there in _pairs(line):
        start = origin[0] + layout.x[here] + _half(graph, here), origin[1] + layout.y[here] + shift.get(here, 0.0)
        stop = origin[0] + layout.x[there] - _half(graph, there), origin[1] + layout.y[there] + shift.get(there, 0.0)
        left = origin[0] + layout.borders[graph.boxes[here].column][1]
        right = origin[0] + layout.borders[graph.boxes[there].column][0]
        ends = there == line.boxes[-1]
        tip = HEAD_LENGTH if ends else 0.0
        path = _curve(start, left, right - tip, (stop[0] - tip, stop[1]))
        axes.add_patch(PathPatch(path, fc="none", ec=colour, lw=1.4, capstyle="butt"))
        if ends:
            axes.add_patch(_head(stop, colour))
        if line.operation is not None and graph.boxes[there].width and there not in shift:
            x, y = origin[0] + layout.x[there], origin[1] + layout.y[there]
            axes.text(x, y, line.operation, size=LABEL_SIZE, color=colour, ha="center", va="center", zorder=4)


def _head(tip: tuple[float, float], colour: str) -> Polygon:
    """Return the arrowhead of a line that arrives level from the left.

    matplotlib's own stays out of sight where the last piece of the line is shorter than the head.
    """
    x, y = tip[0] - HEAD_LENGTH, tip[1]
    return Polygon([tip, (x, y - HEAD_WIDTH / 2), (x, y + HEAD_WIDTH / 2)], fc=colour, ec="none", zorder=2)


def _half(graph: CellGraph, box: int) -> float:
    return graph.boxes[box].width / 2


def _curve(start: tuple[float, float], left: float, right: float, stop: tuple[float, float]) -> Path:
    """Level from `start` to x = `left`, a cubic Bezier to x = `right`, level to `stop`."""
    middle = (left + right) / 2
    points = [start, (left, start[1]), (middle, start[1]), (middle, stop[1]), (right, stop[1]), stop]
    return Path(points, [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4, Path.LINETO])
