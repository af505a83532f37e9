"""What a person reads last: the verdict, how long everything took, where the report is, and what to try next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nascommon.pipeline.paths import EVALUATE, METRICS
from nascommon.pipeline.run import SECONDS
from nascommon.report.next_step import next_step
from nascommon.report.verdict import sentences
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.progress import duration, summary

TIMED = {"search": "search_seconds", "retrain": "train_seconds", "transfer": "train_seconds"}
"""Stages that train one network after the other, and the metric of the seconds of all processes that worked on it."""
LATER = "GAPLESS_CLOSING"
"""Variable of the environment: `later` where the caller of DVC prints these lines itself, whichever stages ran."""
STAGES = ("prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


def print_closing() -> None:
    """Print the result that lies in data/evaluate, about ten lines, whether its stages ran now or came from the cache.

    Raises:
        UserError: there is no result.
    """
    results = read_json(EVALUATE / "results.json")
    told = sentences(results)
    step = next_step(results)
    summary(
        results["title"],
        {
            **{topic: told[topic] for topic in ("verdict", "accuracy", "gap", "truth")},
            "time": time_in_words(stage_seconds()),
            "report": str(report()),
            "try next": f"{step.command}    # {step.why}",
        },
        [],
    )


def printed_later() -> bool:
    """Return whether somebody else prints these lines when all stages have ended."""
    return os.environ.get(LATER) == "later"


def stage_seconds() -> dict[str, float]:
    """Return the seconds of every stage that did something, from its own record, which the cache keeps, too."""
    seconds = {stage: seconds_of(stage, METRICS / f"{stage}.json") for stage in STAGES}
    return {stage: value for stage, value in seconds.items() if value}


def seconds_of(stage: str, record: Path) -> float:
    """Return the seconds of a stage: of the process that finished it, or, if that is more, of all its training."""
    metrics: dict[str, Any] = read_json(record) if record.exists() else {}
    return max(float(metrics.get(SECONDS) or 0), float(metrics.get(TIMED.get(stage, ""), 0) or 0))


def time_in_words(seconds: dict[str, float]) -> str:
    """Write the sum, and what each stage has of it."""
    parts = ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())
    return f"{duration(sum(seconds.values()))} in all: {parts} (of a stage from the cache, when it ran)"


def report() -> Path:
    """Return the report that a person opens."""
    page = EVALUATE / "report.html"
    return page if page.exists() else EVALUATE / "report.md"
