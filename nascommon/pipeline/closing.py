"""What a person reads last: the verdict, how long everything took, where the report is, and what to try next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nascommon.pipeline.birth import UNCHANGED, Change, noted
from nascommon.pipeline.paths import EVALUATE, METRICS
from nascommon.pipeline.protocol_rules import some
from nascommon.report.next_step import next_step
from nascommon.report.verdict import sentences
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.progress import duration, summary

TRAINED = {"search": "search_seconds", "retrain": "train_seconds", "transfer": "train_seconds"}
"""Stages that train one network after the other, and the metric of the seconds of all processes that worked on it."""
LATER = "GAPLESS_CLOSING"
"""Variable of the environment: `later` where the caller of DVC prints these lines itself, whichever stages ran."""
STAGES = ("prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


def print_closing(change: Change = UNCHANGED, asked: str = "") -> None:
    """Print the result that lies in data/evaluate, about ten lines, whether its stages ran now or came from the cache.

    Args:
        change: what is other now than when it was made.
        asked: title of the run that params.yaml asks for now.

    Raises:
        UserError: there is no result.
    """
    summary(*last_lines(change, asked), [])


def last_lines(change: Change = UNCHANGED, asked: str = "") -> tuple[str, dict[str, str]]:
    """Return the title of the result that lies in data/evaluate, and what is said of it by topic.

    Raises:
        UserError: there is no result.
    """
    results = read_json(EVALUATE / "results.json")
    told = sentences(results)
    step = next_step(results)
    seconds = {stage: value for stage, value in stage_seconds().items() if stage not in change.renewed}
    return results["title"], {
        **({"beware": change_in_words(change, results["title"], asked)} if change else {}),
        **{topic: told[topic] for topic in ("verdict", "accuracy", "gap", "truth")},
        "cost": cost_in_words(results["cost_seconds"]),
        "time": time_in_words(seconds),
        "report": str(report()),
        "try next": f"{step.command}    # {step.why}",
    }


def change_in_words(change: Change, title: str, asked: str) -> str:
    """Say that a result is not the one that is asked for, and why; ``title`` names it, ``asked`` the other."""
    said = [] if change.noted else ["nothing notes of what these results were made"]
    if change.settings:
        asks = f"asks for {asked}" if asked != title else "has other settings"
        said.append(f"these are results of {title}, and params.yaml {asks} (other: {some(change.settings)})")
    if change.code:
        said.append(f"the code of {some(change.code)} has changed since")
    if change.renewed:
        said.append(
            f"the files of {some(change.renewed)} in data/ are of another run by now, or gone; the time leaves them out"
        )
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}. MLflow is not told; run `dvc repro`."


def printed_later() -> bool:
    """Return whether somebody else prints these lines when all stages have ended."""
    return os.environ.get(LATER) == "later"


def stage_seconds() -> dict[str, float]:
    """Return the seconds of every stage that did something, from its own record, which the cache keeps, too."""
    seconds = {stage: seconds_of(stage) for stage in STAGES}
    return {stage: value for stage, value in seconds.items() if value}


def seconds_of(stage: str) -> float:
    """Return the seconds of a stage: of the process that finished it, or, if that is more, of all its training."""
    metrics = METRICS / f"{stage}.json"
    trained = read_json(metrics).get(TRAINED.get(stage, ""), 0) if metrics.exists() else 0
    return float(max(noted(stage).get("seconds", 0), trained))


def cost_in_words(cost: Mapping[str, float]) -> str:
    """Write what a run is compared by: the work alone, without loading, judging or what is trained beside it."""
    parts = ", ".join(f"{name} {duration(value)}" for name, value in cost.items())
    return f"{duration(sum(cost.values()))}: {parts} (`seconds` in DVC and MLflow)"


def time_in_words(seconds: dict[str, float]) -> str:
    """Write the sum, and what each stage has of it."""
    parts = ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())
    return (
        f"{duration(sum(seconds.values()))} in all: {parts} (whole processes; of a stage from the cache, when it ran)"
    )


def report() -> Path:
    """Return the report that a person opens."""
    page = EVALUATE / "report.html"
    return page if page.exists() else EVALUATE / "report.md"
