"""Write the tables of the study: `python table.py rows.jsonl trajectory.jsonl`, as Markdown."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nascommon.truth.published import published_values

COLUMNS = {
    "CIFAR-10 %": (("evaluate", "truth_accuracy_cifar10"), 100, 2),
    "CIFAR-100 %": (("evaluate", "truth_accuracy_cifar100"), 100, 2),
    "ImageNet16-120 %": (("evaluate", "truth_accuracy_imagenet16_120"), 100, 2),
    "percentile": (("evaluate", "truth_percentile"), 1, 1),
    "structure: tau-b of 1,000": (("ranking", "ranking", "tau_b"), 1, 2),
    "of the best tenth": (("ranking", "top_tenth", "tau_b"), 1, 2),
    "discretization: lost by cutting, points": (("discretize", "discretization_gap"), 100, 1),
    "recalibrated": (("discretize", "discretization_gap_recalibrated"), 100, 1),
    "operation: excess on skips, pools, none": (("discretize", "operation_gap_excess"), 100, 1),
    "tau of weight and worth": (("discretize", "weight_loss_worth_tau"), 1, 2),
}
PUBLISHED = {
    "darts": "DARTS-V1 (1st order)",
    "pcdarts": "PC-DARTS",
    "gdas": "GDAS",
    "drnas": "DrNAS",
    "random": "RSPS",
}
"""Names of our methods in the table of published values; of the others no paper has a value."""


def published(method: str) -> str:
    """Return the published test accuracy on CIFAR-10 of the cells that a method found at full size."""
    known = published_values().set_index("method")
    if method not in PUBLISHED:
        return "none"
    row = known.loc[PUBLISHED[method]]
    return f"{row.c10_test:.2f} ± {row.c10_test_sd:.2f}"


def cell(rows: list[dict[str, Any]], path: tuple[str, ...], scale: float, digits: int) -> str:
    """Return mean ± standard deviation over the seeds."""
    values = [scale * value for row in rows if (value := at(row, path)) is not None]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def at(tree: Any, path: tuple[str, ...]) -> Any:
    """Return what stands at the end of the path; None where it ends before."""
    for key in path:
        tree = (tree or {}).get(key)
    return tree


def mean_accuracy(rows: list[dict[str, Any]]) -> float:
    """Return the mean known accuracy of the found cells."""
    return statistics.mean(row["evaluate"]["truth_accuracy"] for row in rows)


def by_epoch(rows: list[dict[str, Any]]) -> str:
    """Return tau-b of every snapshot, mean over the seeds."""
    runs = [[point["tau_b"] for point in row["ranking"].get("trajectory") or []] for row in rows]
    return ", ".join(f"{statistics.mean(taus):.2f}" for taus in zip(*filter(None, runs), strict=True))


def of_many(row: dict[str, Any]) -> list[Any]:
    """Return the line of a run that was ranked over many cells: tau-b after so many epochs."""
    points = [f"{point['epoch'] + 1}: {point['tau_b']:.2f}" for point in row["trajectory"]]
    return [f"`{row['method']}`", row["seed"], row["n"], ", ".join(points)]


def read(path: str) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def main(path: str, of_snapshots: str) -> None:
    """Print the figures of every method, the best mean accuracy first, then tau by snapshot."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for row in read(path):
        methods.setdefault(row["method"], []).append(row)
    best = sorted(
        methods.items(), key=lambda one: -statistics.mean(row["evaluate"]["truth_accuracy"] for row in one[1])
    )
    seeds = {name: ", ".join(str(seed) for seed in sorted(row["seed"] for row in rows)) for name, rows in best}
    lines = [
        [f"`{name}`", seeds[name], *(cell(rows, *how) for how in COLUMNS.values()), published(name)]
        for name, rows in best
    ]
    print(
        tabulate(
            lines,
            ["method", "seeds", *COLUMNS, "published CIFAR-10 %"],
            tablefmt="github",
            stralign=None,
            disable_numparse=True,
        )
    )
    trajectories = [[f"`{name}`", seeds[name], by_epoch(rows)] for name, rows in best]
    print()
    print(tabulate(trajectories, ["method", "seeds", "tau-b by snapshot, 30 cells"], tablefmt="github"))
    print()
    many = [of_many(row) for row in read(of_snapshots)]
    print(tabulate(many, ["method", "seed", "cells", "tau-b after so many epochs"], tablefmt="github"))


if __name__ == "__main__":
    main(*sys.argv[1:])
