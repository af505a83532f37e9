"""The four gaps of every method in one table: one run with its interval, several with their spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from nascommon.report.verdict import GAP
from nascommon.space.kinds import cell_of
from nascommon.statistics.intervals import summarise

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Gap:
    """A column of the table.

    Attributes:
        column: its heading.
        metric: the figure; its interval is under ``metric`` + ``_low`` and ``_high``.
        scale: 100 where a person wants percentage points.
        meaning: what is good and what is bad, in words.
        whole: whether it counts something.
    """

    column: str
    metric: str
    scale: float
    meaning: str
    whole: bool = False


def gap_columns(kind: str) -> tuple[Gap, ...]:
    """Return the columns for a space whose main kind of cell is ``kind``."""
    return (
        Gap("gap", GAP, 100, "points lost by cutting the supernet, batch norm measured anew; 0 is no gap"),
        Gap("… old batch norm", "discretization_gap", 100, "the same, batch norm as the mixture left it"),
        Gap(
            "… learned weights",
            "discretization_gap_weighted",
            100,
            "the same, and what is kept carries its learned weights",
        ),
        Gap(
            "operation: excess",
            "operation_gap_excess",
            100,
            "points of weight on skips, pools and noise above their share",
        ),
        Gap("operation: τ worth", "weight_loss_worth_tau", 1, "Kendall τ of weight and loss without; 1 is no gap"),
        Gap("skips", f"skips_{kind}", 1, f"skip connections in the {cell_of(kind)}", whole=True),
        Gap(
            "structure: τ", "structure_tau", 1, "Kendall τ of search score and training alone, same depth; 1 is no gap"
        ),
        Gap(
            "depth: τ",
            "depth_tau",
            1,
            "Kendall τ of training at search depth and deeper; 1 is no gap; "
            "not measured where a bank or a table has the accuracies, since nothing is trained then",
        ),
        Gap("test accuracy", "test_accuracy", 100, "percent, retrained, last epoch"),
    )


TRUTH_COLUMNS = (
    Gap("known accuracy", "truth_accuracy", 100, "percent, test accuracy as the table of the space has it"),
    Gap("known: better than", "truth_percentile", 1, "percent of all architectures of the space that are worse"),
)
"""Columns of a space whose architectures others have trained."""


def gap_figures(stages: Mapping[str, Mapping[str, float | None]], kind: str) -> dict[str, float | None]:
    """Return all gaps with their intervals from the metrics of the stages, by the names that the columns use."""
    discretize, kendall = stages["discretize"], stages["kendall_tau"]
    figures = {
        f"{gap.metric}{end}": discretize.get(f"{gap.metric}{end}")
        for gap in gap_columns(kind)
        for end in ("", "_low", "_high")
    }
    for name, source in (("structure_tau", "tau_b"), ("depth_tau", "depth_tau_b")):
        figures |= {f"{name}{end}": kendall.get(f"{source}{end}") for end in ("", "_low", "_high")}
        figures[f"{name}_n"] = kendall["n"] if kendall.get(source) is not None else None
    return {name: value for name, value in figures.items() if value is not None}


def gap_table(runs: Sequence[tuple[str, str, Figures]], kind: str) -> pd.DataFrame:
    """Return a row per method, or per variant of it where it ran with different settings.

    Args:
        runs: (method, hash of its settings, figures as ``gap_figures`` names them with ``test_accuracy``), one per
            finished pipeline.
        kind: the main kind of cell of their space.
    """
    known = (gap for gap in TRUTH_COLUMNS if any(figures.get(gap.metric) is not None for _, _, figures in runs))
    gaps = (*gap_columns(kind), *known)
    methods: dict[str, list[Figures]] = {}
    for name, run in zip(named_variants([run[:2] for run in runs]), runs, strict=True):
        methods.setdefault(name, []).append(run[2])
    rows: list[dict[str, Any]] = [
        {"method": method, "runs": len(found), **{gap.column: cell(gap, found) for gap in gaps}}
        for method, found in sorted(methods.items())
    ]
    return pd.DataFrame(rows, columns=["method", "runs", *(gap.column for gap in gaps)])


def named_variants(runs: Sequence[tuple[str, str]]) -> list[str]:
    """Name runs by method, and by the hash of its settings, too, where a method ran with several: (method, hash)."""
    several = {method for method, _ in runs if len({settings for other, settings in runs if other == method}) > 1}
    return [f"{method} {settings}" if method in several else method for method, settings in runs]


def cell(gap: Gap, runs: Sequence[Figures]) -> str:
    """Write mean ± standard deviation of several runs, or the value of one with its interval; empty if unknown."""
    digits = 1 if gap.scale == 100 else 2  # noqa: PLR2004 -- percentage points
    knowing = [run for run in runs if run.get(gap.metric) is not None]
    known = [float(run[gap.metric] or 0) for run in knowing]
    if not known:
        return ""
    if len(known) > 1:
        total = summarise([gap.scale * value for value in known])
        return f"{total.mean:z.{digits}f} ± {total.sd:.{digits}f}{_of(gap, knowing)}"
    low, high = (knowing[0].get(f"{gap.metric}{end}") for end in ("_low", "_high"))
    interval = f" [{gap.scale * low:.{digits}f}, {gap.scale * high:.{digits}f}]" if None not in (low, high) else ""  # type: ignore[operator]
    digits = 0 if gap.whole else digits
    return f"{gap.scale * known[0]:z.{digits}f}{interval}{_of(gap, knowing)}"


def _of(gap: Gap, runs: Sequence[Figures]) -> str:
    """Write what a tau was measured on: the architectures of a run, the fewest and the most of several."""
    counts = sorted({count for run in runs if (count := run.get(f"{gap.metric}_n")) is not None})
    return f", n = {' to '.join(f'{count:,.0f}' for count in dict.fromkeys((counts[0], counts[-1])))}" if counts else ""


def meanings(kind: str) -> dict[str, str]:
    """Return what each column means, for a space whose main kind of cell is ``kind``."""
    return {gap.column: gap.meaning for gap in (*gap_columns(kind), *TRUTH_COLUMNS)}


def to_markdown(table: pd.DataFrame, kind: str, *, column_per_method: bool = False) -> str:
    """Write the table as Markdown with what its columns mean; of few methods a column each is narrower."""
    shown = table.set_index("method").T.rename_axis("gap").reset_index() if column_per_method else table
    written = tabulate(shown.to_numpy().tolist(), list(shown.columns), tablefmt="github", disable_numparse=True)
    legend = [f"- {column}: {meaning}" for column, meaning in meanings(kind).items() if column in table.columns]
    return "\n".join([written, "", *legend, ""])
