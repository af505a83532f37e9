"""Speaks to the store of MLflow: finds or makes the runs of a stage, writes to them, and may raise anything."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from filelock import FileLock

from nascommon.secrets import ambiguous
from nascommon.tracking.identity import StageRun, has_died, is_alive, owner

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT: Final = "gapless-nas"
DESCRIPTION: Final = """\
One parent run is one pipeline (a method, a seed, a data set, one set of settings); its stages are nested below it.

- **Compare pipelines**: filter `tags.stage = "pipeline"`. Each row carries the headline numbers of its stages as
  `<stage>/<metric>`; group by the tag `method` to average over seeds. In a chart, put the cost of the search on x and
  the test accuracy after retraining on y.
- **Compare curves**: filter `tags.stage = "search"` (or `"retrain"`, `"transfer"`) and open the charts; the step is
  the epoch. Group by the tag `method` or `pipeline`.
- **Tags that filter**: `stage`, `method`, `seed`, `data`, `pipeline`, `git` (`-dirty`: code or settings that no commit
  holds).
- **Drawings, genotype, plots** are artefacts of the stage runs; the retrained network is in the tab Models.
"""
# "Custom model development" in the UI, which then opens on runs and charts instead of traces.
_KIND: Final = {"mlflow.experimentKind": "custom_model_development"}
KEY: Final = "gapless.key"
_PIPELINE: Final = "gapless.pipeline"
_OWNER: Final = "gapless.owner"
SQLITE: Final = "sqlite:///"
_DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # A server that does not answer holds a stage up once, for so many seconds; after that the stage is not tracked.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "PGCONNECT_TIMEOUT": "4",
}
_LOCK_SECONDS: Final = 60


@dataclass
class OpenRun:
    """A stage's run that can be written to, and the last epoch that it already holds (-1: none)."""

    client: MlflowClient
    stage: str
    experiment_id: str
    run_id: str
    parent_id: str
    last_step: int


def open_run(uri: str, stage_run: StageRun) -> OpenRun:
    """Find or make the experiment, the pipeline's run and the stage's run, safe against another process doing the same.

    Raises:
        ImportError: MLflow is not installed.
        Exception: Whatever MLflow, the database or the network raise.
    """
    if not uri.startswith(SQLITE):
        # Two people with the same settings must not continue or replace each other's runs on a common server.
        # Hashed, because a quote in the name of the folder would end the filter that looks for it.
        mine = hashlib.sha256(f"{socket.gethostname()}:{stage_run.root}".encode()).hexdigest()[:16]
        stage_run = replace(stage_run, key=stage_run.key + mine, pipeline=stage_run.pipeline + mine)
    with FileLock(stage_run.root / ".checkpoints" / "tracking.lock", timeout=_LOCK_SECONDS):
        client, experiment_id = connected(uri, stage_run.root)
        _close_dead(client, experiment_id)
        parent = _pipeline_run(client, experiment_id, stage_run)
        run = _stage_run(client, experiment_id, stage_run, parent.info.run_id)
        for one in (parent, run):
            _log_params(client, one, stage_run.flat_params())
    last_step = max((metric.step for metric in run.data.to_proto().metrics), default=-1)
    return OpenRun(client, stage_run.stage, experiment_id, run.info.run_id, parent.info.run_id, last_step)


def connected(uri: str, root: Path) -> tuple[MlflowClient, str]:
    """Connect to a store, making it and the experiment where there are none; return them.

    Args:
        uri: of the store.
        root: folder that a SQLite file is relative to.
    """
    artefacts = None
    if uri.startswith(SQLITE):
        database = root / uri.removeprefix(SQLITE)
        uri, artefacts = _address(database), (database.parent / "mlartifacts").as_uri()
    client = _connect(uri)
    return client, _experiment(client, artefacts)


def _address(database: Path) -> str:
    """Return the address of a SQLite file, whatever stands in the names of its folders.

    With its driver in it, because MLflow makes the folder of a plain ``sqlite:///`` without decoding its name.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite+pysqlite:///{quote(str(database))}"


def _connect(uri: str) -> MlflowClient:
    if ambiguous(uri):  # or a part of the password would be looked up as the name of a host
        raise ValueError("its user name or password holds one of / ? # @, to be written as %2F, %3F, %23, %40")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    from mlflow.tracking import MlflowClient

    if uri.startswith(_DATABASES):
        import sqlalchemy

        # MLflow tries ten times with doubling pauses, for minutes in all, to open a database that is not there.
        sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()
    return MlflowClient(uri)


def _experiment(client: MlflowClient, artefacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(EXPERIMENT):
        return str(found.experiment_id)
    try:
        return client.create_experiment(EXPERIMENT, artefacts, _KIND | {"mlflow.note.content": DESCRIPTION})
    except MlflowException:
        # On a server another machine may have been quicker.
        if found := client.get_experiment_by_name(EXPERIMENT):
            return str(found.experiment_id)
        raise


def _close_dead(client: MlflowClient, experiment_id: str) -> None:
    """Close the runs that a process of this machine left open when it died."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if has_died(run.data.tags.get(_OWNER, "")):
            client.set_terminated(run.info.run_id, "KILLED")


def _pipeline_run(client: MlflowClient, experiment_id: str, stage_run: StageRun) -> Run:
    mine = f"tags.`{_PIPELINE}` = '{stage_run.pipeline}' and tags.stage = 'pipeline'"
    found = client.search_runs([experiment_id], mine, order_by=["attributes.start_time ASC"])
    if found:
        return found[0]
    tags = stage_run.common_tags() | {"stage": "pipeline", _PIPELINE: stage_run.pipeline}
    run = client.create_run(experiment_id, run_name=stage_run.pipeline_name, tags=tags)
    # It is never left open, so the death of a stage cannot leave it half-dead.
    client.set_terminated(run.info.run_id, "FINISHED")
    return run


def _stage_run(client: MlflowClient, experiment_id: str, stage_run: StageRun, parent_id: str) -> Run:
    tags = stage_run.common_tags() | {"stage": stage_run.stage, KEY: stage_run.key} | dict(stage_run.tags)
    tags |= {"mlflow.parentRunId": parent_id, _OWNER: owner()}
    mine = f"tags.`{KEY}` = '{stage_run.key}' and tags.stage = '{stage_run.stage}'"
    unfinished: list[Run] = []
    for run in client.search_runs([experiment_id], mine):
        if run.info.status == "FINISHED":
            _delete(client, run)
        elif run.info.status != "RUNNING" or not is_alive(run.data.tags.get(_OWNER, "")):
            unfinished.append(run)
    if not unfinished:
        return client.create_run(experiment_id, run_name=stage_run.name, tags=tags)
    run, *older = unfinished
    for one in older:
        _delete(client, one)
    client.update_run(run.info.run_id, status="RUNNING")
    for name, value in tags.items():
        client.set_tag(run.info.run_id, name, value)
    return run


def _delete(client: MlflowClient, run: Run) -> None:
    _delete_models(client, run)
    client.delete_run(run.info.run_id)


def _delete_models(client: MlflowClient, run: Run) -> None:
    for model in run.outputs.model_outputs if run.outputs else ():
        client.delete_logged_model(model.model_id)


def _log_params(client: MlflowClient, run: Run, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param
    from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

    # MLflow refuses to change a param; what an older run already says stays.
    new = [Param(name, value[:MAX_PARAM_VAL_LENGTH]) for name, value in params.items() if name not in run.data.params]
    client.log_batch(run.info.run_id, params=new)


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Write metrics of a step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value in metrics.items()])


def log_epoch(run: OpenRun, step: int, metrics: Mapping[str, float]) -> None:
    """Write the metrics of an epoch, unless the run holds it already."""
    if step <= run.last_step:
        return
    log_metrics(run.client, run.run_id, metrics, step)
    run.last_step = step


def log_headline(run: OpenRun, metrics: Mapping[str, float]) -> None:
    """Write final numbers to the stage's run and, as `<stage>/<metric>`, to the pipeline's; equal ones only once."""
    named = {f"{run.stage}/{name}": value for name, value in metrics.items()}
    for run_id, values in ((run.run_id, metrics), (run.parent_id, named)):
        known = run.client.get_run(run_id).data.metrics
        log_metrics(run.client, run_id, {name: v for name, v in values.items() if known.get(name) != v}, step=0)


def log_artefact(run: OpenRun, path: Path, folder: str) -> None:
    """Copy a file or a folder into the artefacts of the run."""
    run.client.log_artifact(run.run_id, str(path), folder or None)


def log_model(run: OpenRun, model: Path, name: str) -> None:
    """Log the folder that `save_model` wrote as the one model of this run."""
    from mlflow.entities import LoggedModelOutput

    _delete_models(run.client, run.client.get_run(run.run_id))
    logged = run.client.create_logged_model(run.experiment_id, name=name, source_run_id=run.run_id)
    run.client.log_model_artifacts(logged.model_id, str(model))
    run.client.finalize_logged_model(logged.model_id, "READY")
    run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])


def close_run(run: OpenRun, status: str) -> None:
    """End the stage's run as FINISHED, FAILED or KILLED and bring the end of the pipeline's up to date."""
    run.client.set_terminated(run.run_id, status)
    run.client.set_terminated(run.parent_id, "FINISHED")
