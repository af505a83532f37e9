"""A study as one page: findings, a dot for every run, the table; no network, every name escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import pandas as pd
from matplotlib.ticker import MaxNLocator

from nascommon.report.study import LEGEND, RANDOM, StudyRun, findings, study_table, written

ROW, TOP, LEFT, WIDTH, RIGHT, TICKS = 34, 14, 132, 620, 24, 5
"""Pixels: height of a method's row, margins, width of the whole; and at most so many steps of the axis."""
CAPTION = (
    "Test accuracy in percent: a dot for every run, the mean and its 95 % interval; dashed: mean of random search."
)
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --soft: #777; --line: #ddd; --dot: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --soft: #9a9a9a; --line: #3a3d42; --dot: #6cb2f0; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 82rem;
  margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
svg { width: 100%; max-width: 48rem; height: auto; } text { fill: var(--ink); font: 12px system-ui, sans-serif; }
figure { margin: 1rem 0; max-width: 48rem; } figcaption { font-size: .85rem; color: var(--soft); }
@media (max-width: 600px) { text { font-size: 19px; } h1 { font-size: 1.4rem; } }
.axis { stroke: var(--line); } .tick { fill: var(--soft); } .run { fill: var(--dot); fill-opacity: .55; }
.mean { stroke: var(--ink); stroke-width: 2.5; } .span { stroke: var(--ink); stroke-width: 1.2; }
.random { stroke: var(--soft); stroke-dasharray: 4 3; }
"""


def to_html(title: str, runs: Sequence[StudyRun], missing: Sequence[str] = ()) -> str:
    """Write the page of a study; arguments as those of the Markdown report."""
    sentences = [*findings(runs), *([f"Not finished: {', '.join(missing)}."] if missing else [])]
    legend = "".join(f"<dt>{escape(column)}</dt><dd>{escape(meaning)}</dd>" for column, meaning in LEGEND.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>\n"
        + "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)
        + (f"<figure>{drawn}<figcaption>{CAPTION}</figcaption></figure>" if (drawn := dot_plot(runs)) else "")
        + f'\n<div class="wide">{_table(written(study_table(runs)))}</div>\n<dl>{legend}</dl></body></html>\n'
    )


def dot_plot(runs: Sequence[StudyRun]) -> str:
    """Draw test accuracy as SVG: a dot for each run, the mean with its interval for each method, best at the top.

    A dashed line is the mean of random search. Empty where no accuracy is known.
    """
    table = study_table(runs).dropna(subset=["accuracy %"])
    if table.empty:
        return ""
    low, high = _range(table, runs)
    bottom = TOP + ROW * len(table)
    marks = [
        _tick(value, low, high, bottom) for value in MaxNLocator(TICKS).tick_values(low, high) if low <= value <= high
    ]
    random = table[table["method"] == RANDOM]["accuracy %"]
    marks += [_line(x := _x(value, low, high), TOP, x, bottom, "random") for value in random]
    marks += [_method(row, place, runs, low, high) for place, (_, row) in enumerate(table.iterrows())]
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 28}" role="img" aria-label="Test accuracy of every run, by method">'
        f"{''.join(marks)}</svg>"
    )


def _range(table: pd.DataFrame, runs: Sequence[StudyRun]) -> tuple[float, float]:
    """Return what the axis must hold: every run and every interval."""
    values = [run.accuracy for run in runs if not math.isnan(run.accuracy)]
    values += [*table["95 % low"].dropna(), *table["95 % high"].dropna()]
    margin = 0.05 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _method(row: pd.Series[float], place: int, runs: Sequence[StudyRun], low: float, high: float) -> str:
    method, y = str(row["method"]), TOP + ROW * (place + 0.5)
    name = f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(method)}</text>'
    dots = "".join(
        f'<circle class="run" cx="{_x(run.accuracy, low, high):.1f}" cy="{y:.1f}" r="5">'
        f"<title>{escape(method)}, seed {run.seed}: {run.accuracy:.2f} %</title></circle>"
        for run in runs
        if run.method == method and not math.isnan(run.accuracy)
    )
    span = ""
    if not math.isnan(row["95 % low"]):
        ends = (_x(row["95 % low"], low, high), _x(row["95 % high"], low, high))
        span = _line(ends[0], y, ends[1], y, "span")
    mean = _x(row["accuracy %"], low, high)
    return name + span + dots + _line(mean, y - 9, mean, y + 9, "mean")


def _tick(value: float, low: float, high: float, bottom: float) -> str:
    x = _x(value, low, high)
    number = f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:.4g}</text>'
    return _line(x, TOP, x, bottom, "axis") + number


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(str(column))}</th>" for column in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in table.to_numpy().tolist()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
