"""Boxes in columns from left to right, so placed that the lines between them cross little and run straight.

The layered drawing of Sugiyama, Tagawa and Toda (1981): a line that passes a column gets a place in it, like a box; a
label is such a place with a width. So nothing can lie on anything else. All lengths in inches, y upwards.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Order = list[list[int]]
"""Per column, the boxes from top to bottom."""
Links = NDArray[np.int64]
"""[L, 2]: links between boxes of neighbouring columns, left box first."""

STARTS = 12
SWEEPS = 12
SETTLING = 80
ROW_GAP = 0.10
STEEPEST = 1.6
"""Height that a line may gain per length between two columns."""
NARROWEST, WIDEST = 0.35, 1.3
STRAIGHT = 6.0
"""How much more a bend counts inside a long line than at a box."""


@dataclass(frozen=True)
class Box:
    """Something that needs room in a column; `bend` marks a place on a line rather than an end of it."""

    column: int
    width: float
    height: float
    bend: bool = False


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, and the left and right border of each column."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    borders: tuple[tuple[float, float], ...]
    width: float
    height: float


def place(boxes: Sequence[Box], links: Sequence[tuple[int, int]], upper: int, lower: int) -> Layout:
    """Place the boxes so that `upper` is above `lower`; the same input gives the same drawing."""
    links_L2 = np.array(links, dtype=np.int64).reshape(-1, 2)
    order = _best_order(boxes, links_L2)
    rows = {box: row for column in order for row, box in enumerate(column)}
    if rows[upper] > rows[lower]:
        order = [column[::-1] for column in order]
    y = _heights(boxes, links_L2, order)
    borders = _borders(boxes, links_L2, len(order), y)
    half = np.array([box.height / 2 for box in boxes])
    bottom = float((y - half).min())
    centres = tuple(sum(borders[box.column]) / 2 for box in boxes)
    return Layout(centres, tuple((y - bottom).tolist()), borders, borders[-1][1], float((y + half).max()) - bottom)


def crossings(links_L2: Links, row: NDArray[np.float64], columns: NDArray[np.int64]) -> int:
    """How many pairs of links cross, for boxes at these rows and columns."""
    left_L, right_L, gap_L = row[links_L2[:, 0]], row[links_L2[:, 1]], columns[links_L2[:, 0]]
    opposite_LL = (left_L[:, None] - left_L) * (right_L[:, None] - right_L) < 0
    return int(np.count_nonzero(opposite_LL & (gap_L[:, None] == gap_L))) // 2


def _best_order(boxes: Sequence[Box], links_L2: Links) -> Order:
    """The order with the fewest crossings of several starts, each swept to and fro by the mean row of neighbours."""
    columns = np.array([box.column for box in boxes])
    start = [[i for i, box in enumerate(boxes) if box.column == column] for column in range(columns.max() + 1)]
    draw = random.Random(0)
    best: tuple[int, Order] | None = None
    for _ in range(STARTS):
        order = [list(column) for column in start]
        for sweep in range(SWEEPS):
            _sweep(order, links_L2, len(boxes), leftwards=bool(sweep % 2))
            count = crossings(links_L2, _rows(order, len(boxes)), columns)
            if best is None or count < best[0]:
                best = count, [list(column) for column in order]
        for column in start:
            draw.shuffle(column)
    assert best is not None
    return _swap_neighbours(best[1], links_L2, columns)


def _sweep(order: Order, links_L2: Links, boxes: int, *, leftwards: bool) -> None:
    here, there = (0, 1) if leftwards else (1, 0)
    for column in reversed(order) if leftwards else order:
        row = _rows(order, boxes)
        wish = {box: row[links_L2[links_L2[:, here] == box, there]] for box in column}
        column.sort(key=lambda box: wish[box].mean() if wish[box].size else row[box])


def _swap_neighbours(order: Order, links_L2: Links, columns: NDArray[np.int64]) -> Order:
    """Exchange boxes that lie next to each other as long as that removes a crossing."""
    count = crossings(links_L2, _rows(order, len(columns)), columns)
    improved = True
    while improved:
        improved = False
        for column in order:
            for i in range(len(column) - 1):
                column[i], column[i + 1] = column[i + 1], column[i]
                now = crossings(links_L2, _rows(order, len(columns)), columns)
                if now < count:
                    count, improved = now, True
                else:
                    column[i], column[i + 1] = column[i + 1], column[i]
    return order


def _rows(order: Order, boxes: int) -> NDArray[np.float64]:
    row = np.zeros(boxes)
    for column in order:
        row[column] = np.arange(len(column)) - (len(column) - 1) / 2
    return row


def _heights(boxes: Sequence[Box], links_L2: Links, order: Order) -> NDArray[np.float64]:
    """Pull every box to the mean of its neighbours, keeping order and distance (isotonic regression per column)."""
    bend = np.array([box.bend for box in boxes])
    pull = np.zeros((len(boxes), len(boxes)))
    for left, right in links_L2:
        weight = STRAIGHT if bend[left] and bend[right] else 1.0
        pull[left, right] += weight
        pull[right, left] += weight
    total = pull.sum(axis=1)
    y = np.zeros(len(boxes))
    offsets = [_offsets([boxes[box].height for box in column]) for column in order]
    for column, offset in zip(order, offsets, strict=True):
        y[column] = offset - offset.mean()
    for turn in range(SETTLING):
        for column, offset in list(zip(order, offsets, strict=True))[:: 1 if turn % 2 else -1]:
            wish = np.where(total[column] > 0, pull[column] @ y / np.maximum(total[column], 1), y[column])
            y[column] = isotonic_regression(wish - offset, weights=np.maximum(total[column], 0.1), increasing=False).x
            y[column] += offset
    return y


def _offsets(heights: list[float]) -> NDArray[np.float64]:
    """Centres of boxes stacked downwards as close as they may be."""
    return -np.cumsum([0.0, *((above + below) / 2 + ROW_GAP for above, below in pairwise(heights))])


def _borders(
    boxes: Sequence[Box], links_L2: Links, columns: int, y: NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Columns as wide as their widest box, as far apart as their steepest link needs."""
    borders: list[tuple[float, float]] = []
    left = 0.0
    for column in range(columns):
        width = max((box.width for box in boxes if box.column == column), default=0.0)
        borders.append((left, left + width))
        rise = max((abs(y[a] - y[b]) for a, b in links_L2 if boxes[a].column == column), default=0.0)
        left += width + min(max(rise / STEEPEST, NARROWEST), WIDEST)
    return tuple(borders)
