"""Methods over seeds in one ranked table, what it shows in words, and what so few runs cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from tabulate import tabulate

from nascommon.report.table import MILLION
from nascommon.report.verdict import GAP_MEANING, Results, headline
from nascommon.runtime.progress import duration
from nascommon.statistics.intervals import mean_interval, summarise
from nascommon.statistics.null import LEVEL
from nascommon.statistics.paired import fewest_pairs, holm, sign_flip_p, smallest_p

HUNDRED = 100.0
RANDOM = "random"
"""Method that the others are held against: random search under the same settings."""
COLUMNS = {
    "accuracy %": 2, "± sd": 2, "95 % low": 2, "95 % high": 2, "minus random": 2, "p": 3, "p (Holm)": 3,
    "percentile": 0, "gap, points": 1, "excess, points": 1, "structure tau": 2, "depth tau": 2, "seconds": 0,
    "params M": 3,
}  # fmt: skip
"""Columns of figures and their digits after the point."""
LEGEND = {
    "accuracy %": "test accuracy after training from scratch, mean over the seeds, with its standard deviation and the "
    "95 % interval of the mean (Student's t)",
    "minus random": "mean difference to random search with the same seeds, in points",
    "p": "two-sided chance of such a difference if signs were random (exact test of pairs by seed); Holm: corrected "
    "for the number of methods",
    "percentile": "percent of random architectures, or of all that a table knows, that are worse",
    "gap, points": GAP_MEANING,
    "excess, points": "weight on skips and pools above their share, at the end of the search",
    "structure tau": "Kendall tau-b of search score and accuracy after training; 1 is no gap",
    "depth tau": "Kendall tau-b of accuracies at the search's depth and deeper; 1 is no gap",
    "cost": "search, selection and retraining together, as first measured where a stage is from the cache",
}


@dataclass(frozen=True)
class StudyRun:
    """One run: a method, a seed, and what ``evaluate`` wrote."""

    method: str
    seed: int
    results: Results

    @cached_property
    def figures(self) -> dict[str, float | None]:
        """Figures of the table, in its units; None is unknown."""
        head, metrics = headline(self.results), self.results["metrics"]
        return {
            "accuracy %": _times(100, head.accuracy),
            "percentile": head.percentile,
            "gap, points": _times(100, head.gap),
            "excess, points": _times(100, metrics.get("operation_gap_excess")),
            "structure tau": head.tau,
            "depth tau": metrics.get("depth_tau"),
            "seconds": head.seconds,
            "params M": _times(1 / MILLION, self.results["stages"]["retrain"].get("params")),
        }

    @property
    def accuracy(self) -> float:
        """Test accuracy in percent; NaN where it is not known."""
        return math.nan if self.figures["accuracy %"] is None else self.figures["accuracy %"]


def study_table(runs: Sequence[StudyRun]) -> pd.DataFrame:
    """Return a row per method, the best mean accuracy first."""
    methods = sorted({run.method for run in runs})
    rows = [_row(method, [run for run in runs if run.method == method]) for method in methods]
    tested = [row | test for row, test in zip(rows, _tests(methods, runs), strict=True)]
    table = pd.DataFrame(tested, columns=["method", "seeds", *COLUMNS])
    table = table.sort_values(["accuracy %", "method"], ascending=[False, True], na_position="last", ignore_index=True)
    table.insert(0, "rank", range(1, len(table) + 1))
    return table


def _row(method: str, runs: Sequence[StudyRun]) -> dict[str, Any]:
    figures = pd.DataFrame([run.figures for run in runs], dtype=float)
    accuracies = [run.accuracy for run in runs if not math.isnan(run.accuracy)]
    sd = summarise(accuracies).sd if accuracies else None
    low, high = mean_interval(accuracies) or (math.nan, math.nan)
    seeds = ", ".join(str(seed) for seed in sorted(run.seed for run in runs))
    ends = {"95 % low": max(0.0, low), "95 % high": min(HUNDRED, high)} if len(accuracies) > 1 else {}
    spread = {"± sd": math.nan if sd is None else sd, **ends}
    return {
        "method": method,
        "seeds": seeds,
        **{str(column): mean for column, mean in figures.mean().items()},
        **spread,
    }


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


def differences(runs: Sequence[StudyRun], method: str) -> list[float]:
    """Return accuracy less that of random search, in points, for every seed that both have run with."""
    if method == RANDOM:
        return []
    ours, theirs = ({run.seed: run.accuracy for run in runs if run.method == one} for one in (method, RANDOM))
    both = (ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys()))
    return [difference for difference in both if not math.isnan(difference)]


def findings(runs: Sequence[StudyRun]) -> list[str]:
    """Say in plain sentences what the table shows and what it cannot."""
    table = study_table(runs)
    if table["accuracy %"].isna().all():
        return ["No architecture was retrained and no table knows one, so there is nothing to rank by."]
    return [_shown(table), *_cannot(runs, table), *_best(table)]


def _shown(table: pd.DataFrame) -> str:
    tested = table.dropna(subset=["p (Holm)"])
    if tested.empty:
        return "No method was run with the same seeds as random search, so none is tested; add random to the methods."
    sure = tested[tested["p (Holm)"] <= LEVEL]
    if sure.empty:
        return "No method is shown to be better or worse than random search with the same seeds."
    words = [
        f"{row['method']} is {'better' if row['minus random'] > 0 else 'worse'} than random search by "
        f"{abs(row['minus random']):.2f} points (p = {row['p (Holm)']:.3f} by Holm)"
        for _, row in sure.iterrows()
    ]
    return f"{'; '.join(words)}."


def _cannot(runs: Sequence[StudyRun], table: pd.DataFrame) -> list[str]:
    """Say what so few seeds leave open."""
    sentences = []
    single = [row["method"] for _, row in table.iterrows() if math.isnan(row["± sd"])]
    if single:
        sentences.append(
            f"One run shows neither spread nor interval ({', '.join(single)}): another seed may turn the order round."
        )
    tested = [method for method in table["method"] if differences(runs, method)]
    if tested:
        pairs, needed = min(len(differences(runs, method)) for method in tested), fewest_pairs(len(tested))
        if pairs < needed:
            sentences.append(
                f"With {pairs} seed{'s' * (pairs > 1)} p cannot fall below {smallest_p(pairs):.3g}, whatever the "
                f"difference; to show one at {LEVEL} with {len(tested)} method{'s' * (len(tested) > 1)} held against "
                f"random, {needed} seeds are needed. That nothing is shown is no sign that methods are equal."
            )
    return sentences


def _best(table: pd.DataFrame) -> list[str]:
    known = table.dropna(subset=["accuracy %"])
    if len(known) < 2:  # noqa: PLR2004 -- an order takes two
        return []
    first, second = known.iloc[0], known.iloc[1]
    lead = first["accuracy %"] - second["accuracy %"]
    words = f"{first['method']} has the highest mean, {first['accuracy %']:.2f} %, {lead:.2f} points ahead of "
    return [f"{words}{second['method']}. A seed changes all that is random at once, so the spread is of the whole run."]


def to_markdown(title: str, runs: Sequence[StudyRun], missing: Sequence[str] = ()) -> str:
    """Write table, findings and legend.

    Args:
        title: of the study.
        runs: that have finished.
        missing: runs that have not, in words.
    """
    table = written(study_table(runs))
    lines = [f"# {title}", "", *(f"{sentence}\n" for sentence in findings(runs)), *_missing(missing)]
    lines += [tabulate(table.to_numpy().tolist(), list(table.columns), tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {column}: {meaning}" for column, meaning in LEGEND.items()]
    return "\n".join([*lines, ""])


def _missing(missing: Sequence[str]) -> list[str]:
    return [f"Not finished: {', '.join(missing)}.\n"] if missing else []


def written(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text, with columns left out in which nothing is known."""
    text = table.dropna(axis="columns", how="all").astype(object)
    for column, digits in COLUMNS.items():
        if column in text:
            write = duration if column == "seconds" else f"{{:.{digits}f}}".format
            text[column] = ["" if pd.isna(value) else write(value) for value in text[column]]
    return text.rename(columns={"seconds": "cost"})


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
