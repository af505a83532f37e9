"""What a person reads last: the verdict, how long everything took, where the report is, and what to try next."""

from __future__ import annotations

import os
from pathlib import Path

from nascommon.pipeline.paths import EVALUATE, METRICS, TIMES
from nascommon.report.next_step import next_step
from nascommon.report.verdict import sentences
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.progress import duration, summary

TRAINED = {"search": "search_seconds", "retrain": "train_seconds", "transfer": "train_seconds"}
"""Stages that train one network after the other, and the metric of the seconds of all processes that worked on it."""
LATER = "GAPLESS_CLOSING"
"""Variable of the environment: `later` where the caller of DVC prints these lines itself, whichever stages ran."""
STAGES = ("prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


def print_closing() -> None:
    """Print the result that lies in data/evaluate, about ten lines, whether its stages ran now or came from the cache.

    Raises:
        UserError: there is no result.
    """
    summary(*last_lines(), [])


def last_lines() -> tuple[str, dict[str, str]]:
    """Return the title of the result that lies in data/evaluate, and what is said of it by topic.

    Raises:
        UserError: there is no result.
    """
    results = read_json(EVALUATE / "results.json")
    told = sentences(results)
    step = next_step(results)
    return results["title"], {
        **{topic: told[topic] for topic in ("verdict", "accuracy", "gap", "truth")},
        "time": time_in_words(stage_seconds()),
        "report": str(report()),
        "try next": f"{step.command}    # {step.why}",
    }


def printed_later() -> bool:
    """Return whether somebody else prints these lines when all stages have ended."""
    return os.environ.get(LATER) == "later"


def stage_seconds() -> dict[str, float]:
    """Return the seconds of every stage that did something, from its own record, which the cache keeps, too."""
    seconds = {stage: seconds_of(stage) for stage in STAGES}
    return {stage: value for stage, value in seconds.items() if value}


def seconds_of(stage: str) -> float:
    """Return the seconds of a stage: of the process that finished it, or, if that is more, of all its training."""
    finished, trained = (_value(folder / f"{stage}.json", name) for folder, name in
                         ((TIMES, "seconds"), (METRICS, TRAINED.get(stage, ""))))  # fmt: skip
    return max(finished, trained)


def _value(file: Path, name: str) -> float:
    return float(read_json(file).get(name, 0)) if file.exists() else 0.0


def time_in_words(seconds: dict[str, float]) -> str:
    """Write the sum, and what each stage has of it."""
    parts = ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())
    return f"{duration(sum(seconds.values()))} in all: {parts} (of a stage from the cache, when it ran)"


def report() -> Path:
    """Return the report that a person opens."""
    page = EVALUATE / "report.html"
    return page if page.exists() else EVALUATE / "report.md"
