"""One table of results: ours first, the papers' below, every row with the data set that it was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from tabulate import tabulate

DECIMALS = {
    "test error %": 2,
    "± sd": 2,
    "95 % low": 2,
    "95 % high": 2,
    "test images": 0,
    "top-5 error %": 2,
    "params M": 3,
    "mult-adds M": 1,
    "paper_flops M": 1,
    "percentile vs random": 1,
    "p vs random": 3,
}
"""Columns of numbers and how many decimals a person sees."""
COLUMNS = ("whose", "what", "data set", *DECIMALS, "search cost", "note")
OURS, PAPER = "ours", "paper"
MILLION = 1e6


def comparison_table(ours: Sequence[Mapping[str, object]], published: pd.DataFrame) -> pd.DataFrame:
    """Return our rows above the published ones; columns ``COLUMNS``, empty where a number is not known.

    Args:
        ours: rows by column name, without ``whose``.
        published: the packaged table of the papers; a method with results on both data sets becomes two rows.

    Raises:
        ValueError: one of our rows has a column that the table does not know.
    """
    for row in ours:
        if unknown := set(row) - set(COLUMNS):
            raise ValueError(f"unknown columns {sorted(unknown)}")
    rows = [{"whose": OURS, **row} for row in ours]
    for record in published.to_dict("records"):
        method = {str(name): value for name, value in record.items()}
        rows += [row for row in (_on_cifar(method), _on_imagenet(method)) if not _missing(row["test error %"])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def to_markdown(table: pd.DataFrame) -> str:
    """Write the table as Markdown with aligned columns; empty columns are left out, notes are in the CSV file."""
    shown = [name for name in table.columns if name != "note" and not table[name].map(_missing).all()]
    rows = [
        [_cell(name, value) for name, value in zip(shown, row, strict=True)]
        for row in table[shown].itertuples(index=False)
    ]
    sides = ["right" if name in DECIMALS else "left" for name in shown]
    return f"{tabulate(rows, shown, tablefmt='pipe', colalign=sides, disable_numparse=True)}\n"


def _cell(name: str, value: object) -> str:
    if _missing(value):
        return ""
    return f"{value:.{DECIMALS[name]}f}" if name in DECIMALS else str(value).replace("|", r"\|")


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _on_cifar(method: Mapping[str, object]) -> dict[str, object]:
    return {
        "whose": PAPER,
        "what": method["method"],
        "data set": "CIFAR-10",
        "test error %": method["cifar10_test_error_percent"],
        "± sd": method["cifar10_sd"],
        "params M": method["cifar10_params_millions"],
        **_cost(method),
        "note": _note(method["cifar10_statistic"], method["search_hardware"], method["source"]),
    }


def _on_imagenet(method: Mapping[str, object]) -> dict[str, object]:
    return {
        "whose": PAPER,
        "what": method["method"],
        "data set": "ImageNet",
        "test error %": method["imagenet_top1_error_percent"],
        "top-5 error %": method["imagenet_top5_error_percent"],
        "params M": method["imagenet_params_millions"],
        "paper_flops M": method["imagenet_mult_adds_millions"],
        **_cost(method),
        "note": _note(method["search_hardware"], method["source"]),
    }


def _cost(method: Mapping[str, object]) -> dict[str, object]:
    if _missing(method["search_cost_gpu_days"]):
        return {}
    return {"search cost": f"{method['search_cost_gpu_days']:g} GPU-days"}


def _note(*parts: object) -> str:
    return "; ".join(str(part) for part in parts if not _missing(part))
