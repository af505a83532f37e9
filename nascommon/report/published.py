"""The papers' numbers, as facts to stand beside ours and never to gate on."""

from __future__ import annotations

from importlib import resources

import pandas as pd


def published_results() -> pd.DataFrame:
    """CIFAR-10 and ImageNet results as published: one row per method, its source in the last column."""
    with resources.files("nascommon.report").joinpath("reference", "published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
