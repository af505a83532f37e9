"""The papers' numbers, as facts to stand beside ours and never to gate on."""

from __future__ import annotations

from importlib import resources

import pandas as pd


def published_results() -> pd.DataFrame:
    """CIFAR-10 and ImageNet results as published: one row per method, its source in the last column."""
    return _packaged("published.csv")


def kendall_figure1() -> pd.DataFrame:
    """The 10 + 10 points of the EC-DARTS paper's Figure 1: `method`, `retrain_acc` and `search_acc` in percent."""
    return _packaged("kendall_figure1.csv")


def _packaged(name: str) -> pd.DataFrame:
    with resources.files("nascommon.report").joinpath("reference", name).open(encoding="utf-8") as file:
        return pd.read_csv(file)
