"""Methods over seeds in one table of figures: means, intervals, and paired tests against random search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from nascommon.report.known_truth import known
from nascommon.report.next_step import RANDOM
from nascommon.report.sampled import ENDS
from nascommon.report.table import MILLION
from nascommon.report.verdict import GAP, Results, headline, searched
from nascommon.statistics.intervals import mean_interval, summarise
from nascommon.statistics.paired import holm, sign_flip_p

HUNDRED = 100.0
ACCURACY, DIGITS = "accuracy %", 2
"""Column that methods are ranked by, and its digits that are printed: what is equal to those shares a rank."""
STRUCTURE, DEPTH = "structure tau", "depth tau"
SPREAD = {"gap, points": HUNDRED, "excess, points": HUNDRED, STRUCTURE: 1.0, DEPTH: 1.0}
"""Figures that have an interval beside accuracy, and the farthest from 0 that each can be."""
COUNTS = {STRUCTURE: "structure n", DEPTH: "depth n"}
"""Columns of the fewest architectures that a tau was measured on in a run."""
RANDOM_COUNT = "percentile n"
"""Column of how many random architectures a percentile is of; unknown where it is of all that there are."""
COLUMNS = (
    "rank", "method", "seeds", ACCURACY, "± sd", "95 % low", "95 % high", "minus random", "p", "p (Holm)", "percentile",
    RANDOM_COUNT, *(f"{name}{end}" for name in SPREAD for end in ("", " low", " high")), *COUNTS.values(), "seconds",
    "params M",
)  # fmt: skip


@dataclass(frozen=True)
class StudyRun:
    """One run: a method, a seed, and what ``evaluate`` wrote.

    Attributes:
        method: its name.
        seed: of the whole run.
        results: content of data/evaluate/results.json.
        rev: commit of the experiment.
        ended: date and time of that, as ISO 8601.
    """

    method: str
    seed: int
    results: Results
    rev: str = ""
    ended: str = ""

    @cached_property
    def figures(self) -> dict[str, float | None]:
        """Figures of the table, in its units, with the ends of the run's own intervals; None is unknown."""
        head, stages, compared = headline(self.results), self.results["stages"], self.results["comparisons"]
        exact = known(self.results["truth"]) is not None
        cut, ranked = stages["discretize"] if searched(self.results) else {}, stages["kendall_tau"]
        of_run = {
            "gap, points": (cut, GAP, HUNDRED), "excess, points": (cut, "operation_gap_excess", HUNDRED),
            STRUCTURE: (ranked, "tau_b", 1.0), DEPTH: (ranked, "depth_tau_b", 1.0),
        }  # fmt: skip
        return {
            ACCURACY: _times(HUNDRED, head.accuracy),
            "percentile": head.percentile,
            RANDOM_COUNT: None if exact or not compared else compared[0]["n"],
            **{
                f"{name}{end}": _times(factor, tree.get(f"{key}{ending}"))
                for name, (tree, key, factor) in of_run.items()
                for end, ending in zip(("", " low", " high"), ENDS, strict=True)
            },
            **{
                COUNTS[name]: None if ranked.get(key) is None else ranked.get("n")
                for name, key in ((STRUCTURE, "tau_b"), (DEPTH, "depth_tau_b"))
            },
            "seconds": head.seconds,
            "params M": _times(1 / MILLION, stages["retrain"].get("params")),
        }

    @property
    def accuracy(self) -> float:
        """Test accuracy in percent; NaN where it is not known."""
        value = self.figures[ACCURACY]
        return math.nan if value is None else value


def study_table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """Return a row per method with the columns ``COLUMNS``, the best mean accuracy first, NaN where nothing is known.

    Means that are equal as they are printed share a rank, in the order of their names.
    """
    methods = sorted({run.method for run in runs})
    rows = [_row(method, [run for run in runs if run.method == method]) for method in methods]
    tested = [row | test for row, test in zip(rows, _tests(methods, runs), strict=True)]
    table = pd.DataFrame(tested, columns=[name for name in COLUMNS if name != "rank"])
    printed = table[ACCURACY].astype(float).round(DIGITS)
    table.insert(0, "rank", printed.rank(method="min", ascending=False).astype("Int64"))
    return table.sort_values(["rank", "method"], na_position="last", ignore_index=True)


def _row(method: str, runs: Sequence[StudyRun]) -> dict[str, Any]:
    figures = pd.DataFrame([run.figures for run in runs], dtype=float)
    accuracies = list(figures[ACCURACY].dropna())
    low, high = _interval(accuracies, 0.0, HUNDRED)
    sd = summarise(accuracies).sd if accuracies else None
    row = {
        "method": method,
        "seeds": ", ".join(str(seed) for seed in sorted(run.seed for run in runs)),
        **{str(column): mean for column, mean in figures.mean().items()},
        **{column: figures[column].min() for column in (*COUNTS.values(), RANDOM_COUNT)},
        # Of some of the seeds it would stand beside the mean accuracy of all.
        "percentile": figures["percentile"].mean(skipna=False),
        "± sd": math.nan if sd is None else sd,
        "95 % low": low,
        "95 % high": high,
    }
    for name, farthest in SPREAD.items():
        values = list(figures[name].dropna())
        if len(values) > 1:  # of one run its own interval stays
            low, high = _interval(values, -farthest, farthest)
            row |= {f"{name} low": low, f"{name} high": high}
    return row


def _interval(values: Sequence[float], least: float, most: float) -> tuple[float, float]:
    """Return Student's interval of a mean within what the values can be; NaN of fewer than two."""
    if (ends := mean_interval(values)) is None:
        return math.nan, math.nan
    return max(least, ends[0]), min(most, ends[1])


def _tests(methods: Sequence[str], runs: Sequence[StudyRun]) -> list[dict[str, Any]]:
    """Return each method's difference to random search and its p-values; nothing for random itself."""
    pairs = {method: differences(runs, method) for method in methods}
    tested = [method for method in methods if pairs[method]]
    plain = [sign_flip_p(pairs[method]) for method in tested]
    p_values = dict(zip(tested, zip(plain, holm(plain), strict=True), strict=True))
    return [
        {"minus random": summarise(pairs[method]).mean, "p": p_values[method][0], "p (Holm)": p_values[method][1]}
        if method in p_values
        else {}
        for method in methods
    ]


def differences(runs: Sequence[StudyRun], method: str, other: str = RANDOM) -> list[float]:
    """Return accuracy less that of another method, in points, for every seed that both have run with."""
    if method == other:
        return []
    ours, theirs = ({run.seed: run.accuracy for run in runs if run.method == one} for one in (method, other))
    both = (ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys()))
    return [difference for difference in both if not math.isnan(difference)]


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
