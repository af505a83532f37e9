"""What papers report for methods that searched NAS-Bench-201: facts to stand beside ours and never to gate on."""

from __future__ import annotations

from importlib import resources

import pandas as pd


def published_values() -> pd.DataFrame:
    """Return a row for each method: accuracies in percent with their sd, and the letter of the source (NOTICE.md)."""
    file = resources.files("nascommon.truth").joinpath("reference", "nasbench201_published.csv")
    with file.open(encoding="utf-8") as text:
        return pd.read_csv(text)
