"""The run of a whole pipeline in MLflow: its result, and the figures of stages that came from the cache."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nascommon.config import Params
from nascommon.pipeline.birth import is_of, noted
from nascommon.pipeline.paths import DISCRETIZE, EVALUATE, METRICS, PLOTS
from nascommon.pipeline.run import prepare_device, tracked_run
from nascommon.report.verdict import headline
from nascommon.runtime.artefacts import read_json
from nascommon.tracking.tracker import Tracker, tracked_pipeline

BEFORE = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline")
FILES = (
    EVALUATE / "report.html", EVALUATE / "report.md", DISCRETIZE / "genotype.svg", DISCRETIZE / "genotype.png",
)  # fmt: skip
"""What a person opens of a whole pipeline."""


def record_result(tracker: Tracker, params: Params) -> None:
    """Log the result that lies in data/evaluate to the pipeline's run, and below it the stages that did not run.

    A stage whose files are of other settings than these is no part of the pipeline.
    """
    if not tracker.active:
        return
    figures = headline(read_json(EVALUATE / "results.json")).figures()
    report = (EVALUATE / "report.md").read_text(encoding="utf-8")
    tracker.result(known(figures), report, [file for file in FILES if file.exists()])
    for stage in (stage for stage in BEFORE if is_of(stage, params)):
        record_cached(tracker, stage)


def record_cached(tracker: Tracker, stage: str) -> None:
    """Log what the cache brought back of a stage, unless it ran or was left out."""
    metrics = read_json(METRICS / f"{stage}.json")
    if metrics.get("skipped"):
        return
    curves = PLOTS / f"{stage}.csv"
    table = pd.read_csv(curves) if curves.exists() else pd.DataFrame()
    # The plots of other stages, such as the ranking, are no curves over epochs.
    rows = table.to_dict("records") if "epoch" in table else []
    epochs = [(int(row["epoch"]), numbers(row)) for row in rows]
    seconds = noted(stage)["seconds"]
    tracker.cached(stage, known({**metrics, "stage_seconds": seconds}), epochs)


def record_pipeline(params: Params) -> None:
    """Log a pipeline that lies in data/, whichever of its stages ran; what is logged already stays as it is."""
    run = tracked_run("evaluate", params, prepare_device(params), fingerprint="")
    with tracked_pipeline(params.tracking, run) as tracker:
        record_result(tracker, params)
        if tracker.active:
            record_cached(tracker, "evaluate")


def known(figures: dict[str, float | None]) -> dict[str, float]:
    """Return the figures that have a value."""
    return {name: value for name, value in figures.items() if value is not None}


def numbers(row: dict[Any, Any]) -> dict[str, float]:
    """Return the numbers of an epoch, without its index."""
    return {
        str(name): float(value)
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float) and not pd.isna(value)
    }
