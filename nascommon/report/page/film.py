"""The cell over the epochs, as a film: every edge fades with its weight, and those that would be kept are marked."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from nascommon.report.figures import operation_dashes, operation_family
from nascommon.report.naming import edge_name
from nascommon.report.page.files import Files
from nascommon.report.page.section import Key, Picture, Section
from nascommon.report.page.svg import Axes, Svg
from nascommon.runtime.progress import percent
from nascommon.space.genotype import CellGenotype, genotype_from_json
from nascommon.space.kinds import cell_of

ARCHITECTURE, HISTORY = "data/search/architecture.parquet", "data/search/history.parquet"
MOST_FRAMES = 120
"""Epochs that are shown, evenly spaced and the last included: a page must not grow with the length of a search."""
STEP, RISE, BASE = 172, 44, 26
"""Units between two states, height of an arc for every state that it passes, and what is left below the states."""
LEFT = 40


@dataclass(frozen=True)
class Course:
    """Mixing weights of one kind of cell over the epochs.

    Attributes:
        kind: of cell.
        epochs: that are shown, counted from 1.
        operations: names of all candidates.
        edges: (source, node) of each edge.
        weights_TEO: epochs x edges x candidates; 0 where a phase has left a candidate out.
        kept: for every epoch the index of the operation that each edge would keep; -1 for none.
    """

    kind: str
    epochs: list[int]
    operations: list[str]
    edges: list[tuple[int, int]]
    weights_TEO: np.ndarray[Any, np.dtype[np.float64]]
    kept: list[list[int]]


def courses(files: Files) -> list[Course]:
    """Return what architecture and history say of every kind of cell; [] where nothing was trained."""
    weights, history = files.table(ARCHITECTURE), files.table(HISTORY)
    if weights is None or history is None:
        return []
    shown = sorted({round(at) for at in np.linspace(0, len(history) - 1, min(MOST_FRAMES, len(history)))})
    history = history.iloc[shown]
    return [_course(str(kind), part, history) for kind, part in weights.groupby("cell", sort=False)]


def _course(kind: str, part: pd.DataFrame, history: pd.DataFrame) -> Course:
    operations = list(dict.fromkeys(part["operation"]))
    edges = [(int(a), int(b)) for a, b in part[["source", "node"]].drop_duplicates().itertuples(index=False)]
    table = part.pivot_table(index="epoch", columns=["edge", "operation"], values="weight", sort=False)
    columns = pd.MultiIndex.from_product([range(len(edges)), operations])
    weights = table.reindex(index=history["epoch"], columns=columns).fillna(0.0).to_numpy(dtype=np.float64)
    cells = [genotype_from_json(json.loads(text))[kind] for text in history["genotype"]]
    return Course(
        kind, [int(epoch) + 1 for epoch in history["epoch"]], operations, edges,
        weights.reshape(len(history), len(edges), len(operations)), [_kept(cell, edges, operations) for cell in cells],
    )  # fmt: skip


def _kept(cell: CellGenotype, edges: Sequence[tuple[int, int]], operations: Sequence[str]) -> list[int]:
    chosen = {(choice.source, state): choice.operation for state, node in cell.by_state for choice in node}
    return [operations.index(chosen[edge]) if edge in chosen else -1 for edge in edges]


def film(files: Files) -> Section:
    """Show the cells over the epochs, with a slider; without a script the last epoch stands."""
    head = Section("film", "The cells while they are searched")
    found = courses(files)
    history = files.table(HISTORY)
    if not found or history is None:
        return replace(head, missing="The search trained no supernet, so no weight has moved.")
    text = (
        (
            "Each arc is an edge. It has name and colour of its strongest operation; the stronger that is, the clearer "
            "it is drawn. Full lines and bold names are what the genotype would keep if the search ended there."
        ),
    )
    accuracy = dict(zip(history["epoch"] + 1, history["valid_accuracy"], strict=True))
    shots = [f"epoch {epoch}, validation accuracy of the supernet {percent(accuracy[epoch])}, old batch norm"
             for epoch in found[0].epochs]  # fmt: skip
    pictures = tuple(Picture(_arcs(course).markup(), f"{cell_of(course.kind)}", shape="wide") for course in found)
    return replace(head, text=text, pictures=pictures, film={"shots": shots, "cells": [_data(c) for c in found]})


def _data(course: Course) -> dict[str, Any]:
    """Return what the page's script needs: whole thousandths, which are short."""
    top = float(course.weights_TEO.max()) or 1.0
    return {
        "operations": course.operations,
        "families": [operation_family(name) for name in course.operations],
        "best": course.weights_TEO.argmax(axis=2).tolist(),
        "strength": np.rint(1000 * np.sqrt(course.weights_TEO.max(axis=2) / top)).astype(int).tolist(),
        "kept": course.kept,
    }


def _arcs(course: Course) -> Svg:
    """Draw the cell with all its edges as they are in the last epoch; the script changes classes and words."""
    last = max(node for _, node in course.edges)
    height = BASE + 26 + RISE * last + 16
    svg = Svg(2 * LEFT + STEP * last, height, f"The {cell_of(course.kind)} with all its edges at the last epoch")
    level = height - BASE
    weights = course.weights_TEO[-1]
    top = float(course.weights_TEO.max()) or 1.0
    kept = course.kept[-1]
    names = [course.operations[best if best >= 0 else int(weights_O.argmax())]
             for best, weights_O in zip(kept, weights, strict=True)]  # fmt: skip
    classes = [f"op {operation_family(name)}{' kept' if best >= 0 else ''}"
               for best, name in zip(kept, names, strict=True)]  # fmt: skip
    strengths = np.sqrt(weights.max(axis=1) / top)  # the root keeps the even weights of a beginning in sight
    groups = [{"class_": class_, "data_edge": number, "style": f"--strength:{strength:.3f}"}
              for number, (class_, strength) in enumerate(zip(classes, strengths, strict=True))]  # fmt: skip
    for edge, group in zip(course.edges, groups, strict=True):
        _arc(svg, level, edge, group)
    for edge, group, name in zip(course.edges, groups, names, strict=True):  # above all arcs
        _arc_name(svg, level, edge, group, name)
    for state in range(last + 1):
        kind = "input" if state < course.edges[0][1] else "node"
        svg.add("circle", cx=LEFT + STEP * state, cy=level, r=15, class_=f"state {kind}")
        svg.text(LEFT + STEP * state, level + 5, str(state), "state-name")
    return svg


def _arc(svg: Svg, level: float, edge: tuple[int, int], group: dict[str, Any]) -> None:
    start, stop = (LEFT + STEP * state for state in edge)
    height, bend = level - 1.3 * RISE * (edge[1] - edge[0]), 0.25 * (stop - start)
    curve = f"C{start + bend:g},{height:g} {stop - bend:g},{height:g} {stop - 15:g},{level - 17:g}"
    svg.add("path", d=f"M{start + 11:g},{level - 11:g} {curve}", **{**group, "class_": f"arc {group['class_']}"})
    angle = math.degrees(math.atan2(level - 17 - height, bend - 15))
    svg.add("path", d="M8,0 l-11,-5 v10 Z", transform=f"translate({stop - 15:g} {level - 17:g}) rotate({angle:.1f})",
            **{**group, "class_": f"head {group['class_']}"})  # fmt: skip


def _arc_name(svg: Svg, level: float, edge: tuple[int, int], group: dict[str, Any], operation: str) -> None:
    x, y = LEFT + STEP * sum(edge) / 2, level - 11 - RISE * 0.975 * (edge[1] - edge[0])
    svg.add("text", operation, x=x, y=y, text_anchor="middle", **{**group, "class_": f"arc-name {group['class_']}"})


def weights(files: Files) -> Section:
    """Show every mixing weight of every edge over the epochs."""
    head = Section("weights", "Mixing weights of every edge")
    found = courses(files)
    if not found:
        return replace(head, missing="The search trained no supernet, so no weight has moved.")
    text = (
        (
            "What each candidate's output is multiplied by, over the epochs. A framed panel is an edge that is kept "
            "in the end; its operation is drawn thick."
        ),
    )
    return replace(head, text=text, pictures=tuple(_panels(course) for course in found))


PANEL = (190, 132)


def _panels(course: Course) -> Picture:
    dashes = operation_dashes(course.operations)
    top = float(course.weights_TEO.max()) or 1.0
    tiles = [_panel(course, number, top, dashes).markup() for number in range(len(course.edges))]
    keys = tuple(Key(f"line {operation_family(name)} dash{dashes[name]}", name) for name in course.operations)
    return Picture(Markup("").join(tiles), f"{cell_of(course.kind)}, by epoch", keys=keys, shape="tiles")


def _panel(course: Course, number: int, top: float, dashes: dict[str, int]) -> Svg:
    edge, kept = edge_name(*course.edges[number]), course.kept[-1][number]
    svg = Svg(*PANEL, f"Mixing weights of edge {edge} over the epochs")
    axes = Axes(svg, 28, 20, PANEL[0] - 36, PANEL[1] - 38, (0, max(len(course.epochs) - 1, 1)), (0, top))
    svg.add("rect", x=axes.left, y=axes.top, width=axes.width, height=axes.height,
            class_=f"panel{' kept' if kept >= 0 else ''}")  # fmt: skip
    svg.text(axes.left, axes.top - 6, f"edge {edge}", "label strong" if kept >= 0 else "label", "start")
    for value, words in ((0.0, "0"), (top, f"{top:.2g}")):
        svg.text(axes.left - 4, axes.up(value) + 4, words, "tick", "end")
    svg.text(axes.left, axes.bottom + 12, str(course.epochs[0]), "tick", "start")
    svg.text(axes.left + axes.width, axes.bottom + 12, str(course.epochs[-1]), "tick", "end")
    for choice, name in enumerate(course.operations):
        values = course.weights_TEO[:, number, choice].tolist()
        class_ = f"{operation_family(name)} dash{dashes[name]}{' kept' if choice == kept else ''}"
        axes.path(range(len(values)), values, class_, f"{name}: {values[-1]:.3f} at the end")
    return svg
