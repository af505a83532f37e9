"""What spans the runs of stages: those that have finished, and the one run that a study has of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nascommon.tracking.names import original
from nascommon.tracking.store import KEY, SQLITE, connected, database_of, log_metrics
from nascommon.tracking.writing import cut_to_fit

STUDY = "study"


@dataclass(frozen=True)
class FinishedRun:
    """Contents of a finished stage's run."""

    method: str
    settings: str
    """Hash of the method's settings."""
    seed: int
    metrics: Mapping[str, float]
    data: str = ""
    """Name of the data source."""
    protocol: str = ""
    """Hash of everything but method and seed."""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    """Settings by dotted key, as text."""


def finished_runs(uri: str, root: Path, stage: str, protocol: str | None = None) -> list[FinishedRun]:
    """Return the newest finished run of every method, settings, seed and protocol, of that stage, in that order.

    Args:
        uri: of the store.
        root: folder that a SQLite file is looked for in.
        stage: that finished.
        protocol: hash of everything but method and seed; None takes all.
    """
    if uri.startswith(SQLITE) and not database_of(uri, root).is_file():
        return []
    client, experiment = connected(uri, root)
    asked = f"tags.stage = '{stage}' and attributes.status = 'FINISHED'"
    asked += "" if protocol is None else f" and tags.protocol = '{protocol}'"
    newest: dict[tuple[str, str, int, str], FinishedRun] = {}
    for run in client.search_runs([experiment], asked, order_by=["attributes.start_time ASC"]):
        tags = run.data.tags
        key = (tags["method"], tags["settings"], int(tags["seed"]), tags["protocol"])
        metrics = {original(name): value for name, value in run.data.metrics.items()}
        newest[key] = FinishedRun(*key[:3], metrics, tags["data"], key[3], tags, dict(run.data.params))
    return [newest[key] for key in sorted(newest)]


def log_study(uri: str, root: Path, key: str, name: str, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
    """Write the one run of a study, in the place of an earlier one of the same key.

    Args:
        uri: of the store.
        root: folder that a SQLite file is looked for in.
        key: of the study's settings.
        name: of the run.
        metrics: by name.
        files: copied into the artefacts; the first, Markdown, is the description, too.
    """
    client, experiment = connected(uri, root)
    for run in client.search_runs([experiment], f"tags.stage = '{STUDY}' and tags.`{KEY}` = '{key}'"):
        client.delete_run(run.info.run_id)
    note = cut_to_fit(files[0].read_text(encoding="utf-8"))
    tags = {"stage": STUDY, KEY: key, "mlflow.note.content": note}
    run = client.create_run(experiment, run_name=name, tags=tags)
    log_metrics(client, run.info.run_id, metrics, step=0)
    for file in files:
        client.log_artifact(run.info.run_id, str(file))
    client.set_terminated(run.info.run_id, "FINISHED")
