"""The course of search and trainings: signs of collapse with their warnings, and the curves that DVC would draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from nascommon.report.page.files import Files
from nascommon.report.page.film import HISTORY
from nascommon.report.page.section import Key, Picture, Section
from nascommon.report.page.svg import Axes, Svg, padded

EDGES = "edges"
SIGNS = {
    "skips": ("Skip connections in the genotype", EDGES, 1.0),
    "entropy": ("Mean entropy of an edge's mixing weights", "nats", 1.0),
    "watch_gap": ("Loss by cutting, batch norm anew", "points", 100.0),
    "watch_eigenvalue": ("Largest eigenvalue of the Hessian in alpha", "", 1.0),
}
"""Columns of the history that begin so: heading, unit and factor of each."""
COLOURS = ("ours", "second", "third")
ALL_QUIET = "No sign of collapse was found."


def collapse(files: Files) -> Section:
    """Show the signs of collapse over the epochs, with a mark where the search warned."""
    history = files.table(HISTORY)
    head = Section("collapse", "Collapse watch")
    if history is None:
        return replace(head, missing="The search trained no supernet, so nothing could collapse.")
    warned = [(int(epoch) + 1, str(words)) for epoch, words in zip(history["epoch"], history["warnings"], strict=True)
              if words]  # fmt: skip
    looked = "watch_gap" in history
    items = tuple(f"Epoch {epoch}: {words}." for epoch, words in warned)
    if not items:
        items = (ALL_QUIET if looked else "The search was told not to look (search.watch_every is 0).",)
    pictures = [_sign(history, name, [epoch for epoch, _ in warned]) for name in SIGNS]
    return replace(head, pictures=tuple(picture for picture in pictures if picture), items=items)


def _sign(history: pd.DataFrame, name: str, warned: Sequence[int]) -> Picture | None:
    columns = [column for column in history if str(column).startswith(name) and history[column].notna().any()]
    heading, unit, factor = SIGNS[name]
    lines = {str(column).removeprefix(name).strip("_") or heading: factor * history[column] for column in columns}
    return _lines(history, lines, heading, unit, warned) if lines else None


def _lines(
    table: pd.DataFrame, lines: dict[str, pd.Series[float]], heading: str, unit: str, warned: Sequence[int] = ()
) -> Picture:
    epochs = [int(epoch) + 1 for epoch in table["epoch"]]
    svg = Svg(380, 210, heading)
    values = [float(value) for line in lines.values() for value in line.dropna()]
    axes = Axes(svg, 40, 28, 328, 136, padded([1, max(2, epochs[-1])], 0.01), padded([0, *values]))
    axes.y_axis(unit, whole=unit == EDGES)
    axes.x_axis("epoch", whole=True)
    for epoch in warned:
        x = axes.across(epoch)
        svg.line(x, axes.top, x, axes.bottom, "warned")
        svg.add(
            "path", d=f"M{x:.1f},{axes.top - 2:.1f} l-5,-9 h10 Z", class_="warning", hint=f"warning at epoch {epoch}"
        )
    for line, colour in zip(lines.values(), COLOURS, strict=False):
        axes.path(epochs, [None if math.isnan(value) else value for value in line.astype(float)], colour)
    keys = (
        [Key(f"line {colour}", words) for words, colour in zip(lines, COLOURS, strict=False)] if len(lines) > 1 else []
    )
    if warned:
        keys.append(Key("warning", "the search warned"))
    return Picture(svg.markup(), heading, keys=tuple(keys))


CURVES = {
    "data/plots/search.csv": ("Supernet during the search", "train_accuracy", "valid_accuracy"),
    "data/plots/retrain.csv": ("Retraining from scratch", "train_accuracy", "valid_accuracy"),
    "data/plots/transfer.csv": ("Transfer", "train_accuracy", "valid_accuracy"),
}
NAMES = {"train_accuracy": "training", "valid_accuracy": "validation"}


def curves(files: Files) -> Section:
    """Show the accuracies that ``dvc plots show`` draws, which needs the network for that."""
    pictures = []
    for path, (heading, *columns) in CURVES.items():
        table = files.table(path)
        lines = (
            {} if table is None else {NAMES[name]: 100 * table[name] for name in columns if table[name].notna().any()}
        )
        if table is not None and lines:
            pictures.append(_lines(table, lines, heading, "accuracy, %"))
    head = Section("curves", "Training curves")
    if not pictures:
        return replace(head, missing="Nothing was trained.")
    return replace(head, pictures=tuple(pictures))
