"""The figures of a study as tables that fit a page: what methods are ranked by, their gaps, the rest, and every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from nascommon.report.page.section import Table
from nascommon.report.study import ACCURACY, COUNTS, DEPTH, DIGITS, RANDOM_COUNT, STRUCTURE, StudyRun
from nascommon.report.verdict import GAP_MEANING
from nascommon.runtime.progress import duration, share_worse

UNKNOWN = "–"
MADE_BY = ("hardware", "precision", "torch")
"""Parts of a run's birth certificate that may differ within a study."""
RANKED_LEGEND = (
    "±: standard deviation over the seeds; the 95 % interval is Student's, of their mean.",
    "minus random: mean difference to random search with the same seeds, in points.",
    (
        "p: two-sided chance of such a difference if signs were random (exact test of pairs by seed), corrected for "
        "the number of methods (Holm)."
    ),
)
GAPS = {"gap, points": 1, "excess, points": 1, STRUCTURE: 2, DEPTH: 2}
"""Columns of the gaps, and their digits after the point."""
GAPS_LEGEND = {
    "gap, points": GAP_MEANING,
    "excess, points": "weight on skips and pools above their share, at the end of the search",
    STRUCTURE: "Kendall tau-b of search score and accuracy after training; 1 is no gap",
    DEPTH: "Kendall tau-b of accuracies at the search's depth and deeper; 1 is no gap",
}
REST_LEGEND = (
    "better than: share of random architectures, or of all that a table knows, that are worse; mean over the seeds.",
    "cost: search, selection and retraining together, as first measured where a stage is from the cache.",
)


def ranked_table(table: pd.DataFrame) -> Table:
    """Return the main table, a row per method, of a ``study_table``."""
    rows = [
        (
            UNKNOWN if pd.isna(row["rank"]) else str(row["rank"]),
            str(row["method"]),
            _number(row[ACCURACY], DIGITS) + ("" if pd.isna(row["± sd"]) else f" ± {row['± sd']:.{DIGITS}f}"),
            _interval(row, "95 %", DIGITS),
            _signed(row["minus random"]),
            _number(row["p (Holm)"], 3),
        )
        for _, row in table.iterrows()
    ]
    head = ("rank", "method", ACCURACY, "95 % interval", "minus random", "p")
    return Table(head, rows, numbers=frozenset({0, 2, 3, 4, 5}))


def gaps_table(table: pd.DataFrame) -> Table:
    """Return the gaps that any run has measured, each with its interval."""
    known = [name for name in GAPS if table[name].notna().any()]
    rows = [(str(row["method"]), *(_gap(row, name) for name in known)) for _, row in table.iterrows()]
    return Table(("method", *known), rows)


def gaps_legend(table: pd.DataFrame) -> tuple[str, ...]:
    """Say what the columns of the gaps mean, of those that are there."""
    return tuple(f"{name}: {meaning}." for name, meaning in GAPS_LEGEND.items() if table[name].notna().any())


def rest_table(table: pd.DataFrame) -> Table:
    """Return what methods cost and how large their networks are."""
    rows = [
        (str(row["method"]), str(row["seeds"]), _percentile(row), duration(row["seconds"]), _number(row["params M"], 3))
        for _, row in table.iterrows()
    ]
    return Table(("method", "seeds", "better than", "cost", "million parameters"), rows, numbers=frozenset({3, 4}))


def runs_table(runs: Sequence[StudyRun]) -> Table:
    """Return every run with its accuracy, commit of DVC's and end, and those of ``MADE_BY`` in which they differ."""
    births = [run.results["provenance"] for run in runs]
    differing = [name for name in MADE_BY if len({birth.get(name) for birth in births}) > 1]
    rows = [
        (
            f"{run.method} seed {run.seed}",
            _number(run.accuracy, DIGITS),
            run.rev[:7],
            run.ended,
            *(str(run.results["provenance"].get(name, UNKNOWN)) for name in differing),
        )
        for run in sorted(runs, key=lambda run: (run.method, run.seed))
    ]
    return Table(("run", ACCURACY, "experiment", "ended", *differing), rows, "Runs", frozenset({1}))


def _gap(row: pd.Series[float], name: str) -> str:
    """Write a figure with its interval, and a tau with what it was measured on; no tau without."""
    if pd.isna(row[name]):
        return UNKNOWN
    interval = "" if pd.isna(row[f"{name} low"]) else f" [{_interval(row, name, GAPS[name])}]"
    count = "" if (column := COUNTS.get(name)) is None else f", n = {row[column]:.0f}"
    return f"{_number(row[name], GAPS[name])}{interval or ' (no interval)'}{count}"


def _percentile(row: pd.Series[float]) -> str:
    if pd.isna(row["percentile"]):
        return UNKNOWN
    of_whom = "all" if pd.isna(row[RANDOM_COUNT]) else f"{row[RANDOM_COUNT]:.0f} random ones"
    return f"{share_worse(row['percentile'])} of {of_whom}"


def _interval(row: pd.Series[float], name: str, digits: int) -> str:
    low, high = (_number(row[f"{name} {end}"], digits) for end in ("low", "high"))
    return UNKNOWN if UNKNOWN in (low, high) else f"{low} to {high}"


def _signed(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{round(value, DIGITS) + 0:+.{DIGITS}f}"


def _number(value: float, digits: int) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.{digits}f}"
