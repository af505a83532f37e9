"""Boxes in columns from left to right, so placed that the lines between them cross little and run straight.

grandalf draws in layers from top to bottom (Sugiyama, Tagawa and Toda 1981; heights by Brandes and Köpf 2001), so its x
is our y and its layers are our columns. A line that passes a column has a box of its own there, and a label is such a
box with a width, so nothing can lie on anything else. All lengths in inches, y upwards.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from grandalf.graphs import Edge, Vertex, graph_core
from grandalf.layouts import Layer, SugiyamaLayout, VertexViewer
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Links = NDArray[np.int64]
"""[L, 2]: links between boxes of neighbouring columns, left box first."""

STARTS = 12
SWEEPS = 4
ROW_GAP, COLUMN_GAP = 0.10, 0.55


@dataclass(frozen=True)
class Box:
    """Something that needs room in a column: a state, a label, or the place of a line that passes."""

    column: int
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, and the left and right border of each column."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    borders: tuple[tuple[float, float], ...]
    width: float
    height: float


class _InColumns(SugiyamaLayout):  # type: ignore[misc]  # grandalf has no types
    """Puts a vertex into the layer that its data name, where grandalf would find one by the longest path."""

    def setrank(self, v: Vertex) -> None:
        while len(self.layers) <= v.data:
            self.layers.append(Layer())
        self.grx[v].rank = v.data
        self.layers[v.data].append(v)


def place(boxes: Sequence[Box], links: Sequence[tuple[int, int]], upper: int, lower: int) -> Layout:
    """Place the boxes so that `upper` is above `lower`; the same input gives the same drawing."""
    links_L2 = np.array(links, dtype=np.int64).reshape(-1, 2)
    columns_B = np.array([box.column for box in boxes])
    draw, order = random.Random(0), list(range(len(boxes)))
    starts = [order, *(draw.sample(order, len(order)) for _ in range(STARTS - 1))]
    # The sweeps stay where they cannot improve, so it matters where they begin.
    y_B = min((_heights(boxes, links_L2, start) for start in starts), key=lambda y: crossings(links_L2, y, columns_B))
    if y_B[upper] < y_B[lower]:
        y_B = -y_B
    half_B = np.array([box.height / 2 for box in boxes])
    bottom, top = float((y_B - half_B).min()), float((y_B + half_B).max())
    borders = _borders(boxes)
    centres = tuple(sum(borders[box.column]) / 2 for box in boxes)
    return Layout(centres, tuple((y_B - bottom).tolist()), borders, borders[-1][1], top - bottom)


def crossings(links_L2: Links, y_B: NDArray[np.float64], columns_B: NDArray[np.int64]) -> int:
    """Return how many pairs of links cross, for boxes at these heights and columns."""
    left_L, right_L, gap_L = y_B[links_L2[:, 0]], y_B[links_L2[:, 1]], columns_B[links_L2[:, 0]]
    opposite_LL = (left_L[:, None] - left_L) * (right_L[:, None] - right_L) < 0
    return int(np.count_nonzero(opposite_LL & (gap_L[:, None] == gap_L))) // 2


def _heights(boxes: Sequence[Box], links_L2: Links, start: Sequence[int]) -> NDArray[np.float64]:
    """Return the centres [B] in y of the boxes, which stand in the order of ``start`` before the first sweep."""
    vertices = [Vertex(box.column) for box in boxes]
    for vertex, box in zip(vertices, boxes, strict=True):
        vertex.view = VertexViewer(w=box.height, h=box.width)
    edges = [Edge(vertices[left], vertices[right]) for left, right in _connected(boxes, links_L2)]
    layout = _InColumns(graph_core([vertices[box] for box in start], edges))
    layout.xspace = ROW_GAP
    layout.init_all(inverted_edges=[])
    layout.draw(SWEEPS)
    return np.array([-vertex.view.xy[0] for vertex in vertices])


def _connected(boxes: Sequence[Box], links_L2: Links) -> list[tuple[int, int]]:
    """Return the links, and one to the last column for each part that has none, since grandalf places one graph."""
    last = max(range(len(boxes)), key=lambda box: boxes[box].column)
    adjacency = coo_array((np.ones(len(links_L2)), links_L2.T), shape=(len(boxes), len(boxes)))
    part_B = connected_components(adjacency, directed=False)[1]
    firsts = np.unique(part_B, return_index=True)[1]
    return [*map(tuple, links_L2), *((int(box), last) for box in firsts if part_B[box] != part_B[last])]


def _borders(boxes: Sequence[Box]) -> tuple[tuple[float, float], ...]:
    """Columns as wide as their widest box, all equally far apart."""
    widths = [0.0] * (1 + max(box.column for box in boxes))
    for box in boxes:
        widths[box.column] = max(widths[box.column], box.width)
    lefts = np.cumsum([0.0, *(width + COLUMN_GAP for width in widths[:-1])]).tolist()
    return tuple((left, left + width) for left, width in zip(lefts, widths, strict=True))
