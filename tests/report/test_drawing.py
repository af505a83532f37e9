"""Every genotype can be drawn, its picture names every operation, and drawing it again gives the same file."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.text import Text

from nascommon.report.drawing import cell_graph, draw_genotype, save_drawing
from nascommon.report.figures import figure_bytes, operation_colour
from nascommon.report.layout import Box, place
from nascommon.settings import UserError
from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Choice, Genotype
from nascommon.space.published import PUBLISHED
from tests.space.kinds import two

SEP = "sep_conv_3x3"
DEAD = CellGenotype(((Choice(SEP, 0), Choice("skip_connect", 1)), (), (Choice("max_pool_3x3", 2),)), (2, 4))
"""Node 1 (state 3) has no input and feeds nothing."""
ALL = {**PUBLISHED, "dead node": two(Genotype, DEAD, PUBLISHED["DARTS_V2"]["reduction"])}


@cache
def drawing(name: str) -> Figure:
    return draw_genotype(ALL[name], f"title of {name}")


def operations(genotype: Genotype) -> Counter[str]:
    return Counter(choice.operation for kind in DARTS_KINDS for node in genotype[kind].nodes for choice in node)


@pytest.mark.parametrize("name", ALL)
def test_the_drawing_names_every_operation_as_often_as_it_occurs(name: str) -> None:
    svg = figure_bytes(drawing(name), ".svg").decode()
    # matplotlib draws text as outlines and leaves the words in a comment.
    assert {op: svg.count(f"<!-- {op} -->") for op in operations(ALL[name])} == operations(ALL[name])
    assert f"<!-- title of {name} -->" in svg
    assert svg.count("<!-- out -->") == 2
    nodes = f"2 to {1 + len(ALL[name]['normal'].nodes)}: nodes"
    assert svg.count(f"<!-- 0 to 1: the cells before, nearest last;  {nodes};  out: output -->") == 1


def test_states_are_called_as_in_the_genotype() -> None:
    assert cell_graph(PUBLISHED["DARTS_V2"]["normal"]).names == ("0", "1", "2", "3", "4", "5", "out")


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_genotype_gives_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}{suffix}" for number in range(3)]
    save_drawing(PUBLISHED["DARTS_V2"], files[0], "DARTS")
    with mpl.rc_context({"font.size": 23, "svg.hashsalt": "mine", "lines.linewidth": 9}):
        save_drawing(PUBLISHED["DARTS_V2"], files[1], "DARTS")
        assert mpl.rcParams["font.size"] == 23
    save_drawing(PUBLISHED["DARTS_V1"], files[2], "DARTS")
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other


def test_a_png_is_a_png(tmp_path: Path) -> None:
    save_drawing(ALL["dead node"], tmp_path / "cells.png", "cells")
    assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("name", ["cells.pdf", "cells"])
def test_another_format_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.svg, \.png"):
        save_drawing(PUBLISHED["DARTS_V1"], tmp_path / name, "cells")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ALL)
def test_nothing_lies_outside_and_no_label_on_another(name: str) -> None:
    figure = drawing(name)
    figure.draw_without_rendering()
    extents = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
    assert len(extents) > 20
    for box in extents:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    assert not any(one.overlaps(other) for one, other in combinations(extents, 2))


@pytest.mark.parametrize("name", ALL)
def test_lines_leave_a_box_side_by_side(name: str) -> None:
    paths = [patch.get_path() for patch in drawing(name).findobj(PathPatch)]
    starts = [tuple(np.asarray(path.vertices)[0].round(6)) for path in paths]
    assert len(starts) >= ALL[name]["normal"].edges + ALL[name]["reduction"].edges
    assert len(set(starts)) == len(starts)


def test_a_title_with_dollars_is_taken_by_the_letter(tmp_path: Path) -> None:
    save_drawing(ALL["dead node"], tmp_path / "cells.svg", r"$a_1 $\b")
    assert r"<!-- $a_1 $\b -->" in (tmp_path / "cells.svg").read_text(encoding="utf-8")


def test_a_dead_node_is_drawn_dashed_and_without_lines() -> None:
    graph = cell_graph(DEAD)
    assert graph.dead == {3}
    assert not any(3 in line.boxes for line in graph.lines)
    styles = [patch.get_linestyle() for patch in drawing("dead node").findobj(FancyBboxPatch)]
    assert Counter(styles) == {"--": 1, "-": 12}


def test_lines_lead_from_source_to_node_to_output_always_to_the_right() -> None:
    cell = PUBLISHED["DARTS_V2"]["normal"]
    graph = cell_graph(cell)
    ends = Counter((line.boxes[0], line.boxes[-1], line.operation) for line in graph.lines)
    edges = [(c.source, state, c.operation) for state, node in enumerate(cell.nodes, start=2) for c in node]
    assert ends == Counter([*edges, *((state, 6, None) for state in cell.concat)])
    for line in graph.lines:
        columns = [graph.boxes[box].column for box in line.boxes]
        assert all(right == left + 1 for left, right in pairwise(columns))


def test_operations_of_a_family_share_a_colour_and_families_differ() -> None:
    assert operation_colour(SEP) == operation_colour("sep_conv_5x5")
    colours = {operation_colour(name) for name in (SEP, "dil_conv_3x3", "max_pool_3x3", "skip_connect", "conv_7x1_1x7")}
    assert len(colours) == 5


def test_boxes_of_a_column_keep_their_distance_and_the_upper_input_is_above() -> None:
    boxes = [Box(0, 1, 0.4), Box(0, 1, 0.4), *(Box(1, 0.5, 0.3) for _ in range(4)), Box(2, 1, 0.4)]
    links = [(0, 5), (0, 3), (1, 2), (1, 4), (2, 6), (3, 6), (4, 6), (5, 6)]
    layout = place(boxes, links, upper=1, lower=0)
    assert layout.y[1] > layout.y[0]
    heights = sorted(layout.y[2:6])
    assert all(above - below >= 0.3 + 0.1 - 1e-9 for below, above in pairwise(heights))
    # One input's links end above the other's: nothing crosses.
    assert min(layout.y[2], layout.y[4]) > max(layout.y[3], layout.y[5])
    assert all(left[1] < right[0] for left, right in pairwise(layout.borders))
    assert layout.width == layout.borders[-1][1]
    assert place(boxes, links, upper=1, lower=0) == layout


@pytest.mark.parametrize("name", ALL)
def test_every_line_ends_in_a_filled_arrowhead_at_its_box(name: str) -> None:
    heads = [np.asarray(head.get_xy()) for head in drawing(name).findobj(Polygon)]
    assert len(heads) == sum(len(cell_graph(cell).lines) for cell in ALL[name].values())
    boxes = [box for box in drawing(name).findobj(FancyBboxPatch) if box.get_linestyle() == "-"]
    sides = [(box.get_x(), box.get_y(), box.get_y() + box.get_height()) for box in boxes]
    for head in heads:
        tip = head[head[:, 0].argmax()]
        assert any(abs(tip[0] - x) < 1e-9 and low <= tip[1] <= high for x, low, high in sides)
