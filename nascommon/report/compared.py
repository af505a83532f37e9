"""Runs beside each other, a row each: the five headline figures of every method, variant and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from nascommon.report.verdict import GAP
from nascommon.runtime.progress import duration, percent, points, share_worse

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Row:
    """A finished pipeline.

    Attributes:
        method: its name, with a hash of its settings where it ran with several.
        seed: of the run.
        figures: those of ``evaluate``, by name.
    """

    method: str
    seed: int
    figures: Figures


COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[float], str]]] = {
    "accuracy": (("test_accuracy", "truth_accuracy"), percent),
    "gap": ((GAP,), points),
    "better than": (("percentile_vs_random", "truth_percentile"), share_worse),
    "tau": (("structure_tau",), "{:.2f}".format),
    "cost": (("total_seconds",), duration),
}
"""Headline figures: the metrics that they are, the first that is known, and how they are written."""


def compared(rows: Sequence[Row]) -> str:
    """Write a table in Markdown, 120 columns wide at most, sorted by method and seed."""
    head = ("method", "seed", *COLUMNS)
    cells = [
        (row.method, row.seed, *(_cell(row.figures, *column) for column in COLUMNS.values()))
        for row in sorted(rows, key=lambda row: (row.method, row.seed))
    ]
    right = ("left", *("right",) * (len(head) - 1))
    return str(tabulate(cells, head, tablefmt="github", disable_numparse=True, colalign=right))


def _cell(figures: Figures, names: Sequence[str], write: Callable[[float], str]) -> str:
    known = [value for name in names if (value := figures.get(name)) is not None]
    return write(known[0]) if known else ""
