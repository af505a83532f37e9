"""What the stages say is written to their runs in MLflow; anything may be raised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nascommon.tracking import names
from nascommon.tracking.store import CACHED, OpenRun, children, delete_models, log_metrics, log_params

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LONGEST_NOTE: Final = 7900
"""Characters of a description, a little less than MLflow takes."""
OF_A_PROCESS: Final = ("hardware", "torch", "code", "git", "mlflow.source.git.commit")
"""Tags that are true of the process at work, and not of another that computed what the cache holds."""


def log_epoch(run: OpenRun, step: int, metrics: Mapping[str, float]) -> None:
    """Write the metrics of an epoch, unless the run holds it already."""
    if step <= run.last_step:
        return
    log_metrics(run.client, run.run_id, _shown(metrics), step)
    run.last_step = step


def log_headline(run: OpenRun, metrics: Mapping[str, float]) -> None:
    """Write final numbers to the run; equal ones only once."""
    _log_new(run.client, run.run_id, _shown(metrics))


def log_result(run: OpenRun, metrics: Mapping[str, float], description: str, files: Iterable[Path]) -> None:
    """Write what a pipeline came to onto its own run: figures, description (Markdown), files."""
    _log_new(run.client, run.parent_id, metrics)
    run.client.set_tag(run.parent_id, "mlflow.note.content", cut_to_fit(description))
    for file in files:
        run.client.log_artifact(run.parent_id, str(file))


def log_cached(
    run: OpenRun, stage: str, metrics: Mapping[str, float], epochs: Sequence[tuple[int, Mapping[str, float]]]
) -> None:
    """Write the figures of a stage that did not run, as a run of its own, unless the pipeline has a run of it."""
    # One that was killed or failed never came to its figures.
    there = children(run.client, run.experiment_id, run.parent_id, stage)
    if any(one.info.status in ("FINISHED", "RUNNING") for one in there):
        return
    of_stage = replace(run.stage_run, stage=stage)
    tags = of_stage.common_tags() | dict(of_stage.tags)
    tags = {name: value for name, value in tags.items() if name not in OF_A_PROCESS}
    tags |= {"stage": stage, CACHED: "true", "mlflow.parentRunId": run.parent_id}
    made = run.client.create_run(run.experiment_id, run_name=f"{of_stage.name} · cached", tags=tags)
    log_params(run.client, made, of_stage.flat_params())
    for step, figures in epochs:
        log_metrics(run.client, made.info.run_id, _shown(figures), step)
    _log_new(run.client, made.info.run_id, _shown(metrics))
    run.client.set_terminated(made.info.run_id, "FINISHED")


def log_artefact(run: OpenRun, path: Path, folder: str) -> None:
    """Copy a file, or the content of a folder, into a folder of the artefacts of the run."""
    log = run.client.log_artifacts if path.is_dir() else run.client.log_artifact
    log(run.run_id, str(path), folder or None)


def log_model(run: OpenRun, model: Path, name: str) -> None:
    """Log the folder that `save_model` wrote as the one model of this run."""
    from mlflow.entities import LoggedModelOutput

    delete_models(run.client, run.client.get_run(run.run_id))
    logged = run.client.create_logged_model(run.experiment_id, name=name, source_run_id=run.run_id)
    run.client.log_model_artifacts(logged.model_id, str(model))
    run.client.finalize_logged_model(logged.model_id, "READY")
    run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])


def close_run(run: OpenRun, status: str) -> None:
    """End the stage's run as FINISHED, FAILED or KILLED and bring the end of the pipeline's up to date."""
    run.client.set_terminated(run.run_id, status)
    run.client.set_terminated(run.parent_id, "FINISHED")


def _log_new(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """Write final numbers that the run does not have; one that differs from the end of its curve is no point of it."""
    known = {metric.key: metric for metric in client.get_run(run_id).data.to_proto().metrics}
    new = {name: value for name, value in metrics.items() if name not in known or known[name].value != value}
    curves = {name for name, metric in known.items() if metric.step > 0}
    log_metrics(client, run_id, {f"{name} final" if name in curves else name: v for name, v in new.items()}, step=0)


def _shown(metrics: Mapping[str, float]) -> dict[str, float]:
    return {names.shown(name): value for name, value in metrics.items()}


def cut_to_fit(description: str) -> str:
    """Cut a text between its lines to what MLflow takes, and say so."""
    if len(description) <= LONGEST_NOTE:
        return description
    return f"{description[:LONGEST_NOTE].rpartition(chr(10))[0]}\n\n… the rest is among the artefacts."
