"""Paths of what the stages write, relative to the folder of params.yaml."""

from __future__ import annotations

from pathlib import Path

ROOT = Path()
"""Stages run in the folder of params.yaml, as DVC runs them."""
TARGET_DATA, TRANSFER_DATA = Path("data/prepared/target"), Path("data/prepared/transfer")
SEARCH, DISCRETIZE, RETRAIN = Path("data/search"), Path("data/discretize"), Path("data/retrain")
TRANSFER, KENDALL, BASELINE = Path("data/transfer"), Path("data/kendall_tau"), Path("data/baseline")
EVALUATE = Path("data/evaluate")
METRICS, PLOTS, TIMES = Path("data/metrics"), Path("data/plots"), Path("data/times")
"""Folders of metrics, of plots and of what each stage took, apart from those above because DVC wants them as outputs of
their own."""
