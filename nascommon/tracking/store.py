"""Runs in MLflow are found or made here; anything may be raised."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from filelock import FileLock

from nascommon.secrets import ambiguous
from nascommon.settings import UserError
from nascommon.tracking import view
from nascommon.tracking.identity import StageRun, has_died, is_alive, owner

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT: Final = "gapless-nas"
DESCRIPTION: Final = """\
One parent run is one pipeline (a method, a seed, a data set, one set of settings); its stages are nested below it.

- **Compare methods**: `make ui` opens the view that does, with parallel coordinates and a chart for each figure. A
  pipeline carries five: `accuracy` (test), `gap` (validation accuracy that the supernet loses by being cut),
  `percentile` (of architectures that are worse), `tau` (of search score and truth), `seconds` (search and retraining).
  Group by the tag `method` to average over seeds.
- **Read a run**: its page has the report as description, report and drawing as artefacts.
- **Compare curves**: filter `tags.stage = "search"` (or `"retrain"`, `"transfer"`) and open the charts; the step is
  the epoch. Charts are grouped: accuracy, gap, tau, loss, time, size.
- **Tags that filter**: `stage`, `method`, `seed`, `data`, `pipeline`, `cached` (figures of a stage that another
  pipeline ran), `git` (`-dirty`: code or settings that no commit holds), `code` (hash of the code alone).
- **Drawings, genotype, plots** of a stage are artefacts of its run; the retrained network is in the tab Models.
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
CACHED: Final = "cached"
"""Tag of a run whose stage did not run."""


@dataclass
class OpenRun:
    """A stage's run that can be written to, and the last epoch that it already holds (-1: none)."""

    client: MlflowClient
    stage_run: StageRun
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
    return _open(uri, stage_run, _stage_run)


def open_pipeline(uri: str, stage_run: StageRun) -> OpenRun:
    """Find or make the pipeline's run, to be written to as if it were a stage's; raises as `open_run` does."""
    return _open(uri, stage_run, lambda _client, _experiment, _stage_run, parent: parent)


def _open(uri: str, stage_run: StageRun, find: Callable[[MlflowClient, str, StageRun, Run], Run]) -> OpenRun:
    if not uri.startswith(SQLITE):
        # Two people with the same settings must not continue or replace each other's runs on a common server.
        # Hashed, because a quote in the name of the folder would end the filter that looks for it.
        mine = hashlib.sha256(f"{socket.gethostname()}:{stage_run.root}".encode()).hexdigest()[:16]
        stage_run = replace(stage_run, key=stage_run.key + mine, pipeline=stage_run.pipeline + mine)
    with FileLock(stage_run.root / ".checkpoints" / "tracking.lock", timeout=_LOCK_SECONDS):
        client, experiment_id = connected(uri, stage_run.root)
        _close_dead(client, experiment_id)
        parent = _pipeline_run(client, experiment_id, stage_run)
        run = find(client, experiment_id, stage_run, parent)
        for one in (parent, run):
            log_params(client, one, stage_run.flat_params())
    last_step = max((metric.step for metric in run.data.to_proto().metrics), default=-1)
    return OpenRun(client, stage_run, experiment_id, run.info.run_id, parent.info.run_id, last_step)


def connected(uri: str, root: Path) -> tuple[MlflowClient, str]:
    """Connect to a store, making it and the experiment where there are none; return them.

    Args:
        uri: of the store.
        root: folder that a SQLite file is relative to; itself relative to the working directory, or not.
    """
    artefacts = None
    if uri.startswith(SQLITE):
        database = database_of(uri, root)
        uri, artefacts = _address(database), (database.parent / "mlartifacts").as_uri()
    client = _connect(uri)
    return client, _experiment(client, artefacts)


def find_experiment(uri: str, root: Path) -> tuple[str, str]:
    """Return (id of the experiment, address of the store) for showing it, its view brought up to date.

    Raises:
        UserError: there is no such file.
        Exception: Whatever MLflow, the database or the network raise.
    """
    full = uri
    if uri.startswith(SQLITE):
        database = database_of(uri, root)
        if not database.is_file():
            raise UserError(f"{database}: no such file; `dvc repro` makes it")
        full = _address(database)
    return connected(uri, root)[1], full


def database_of(uri: str, root: Path) -> Path:
    """Return the whole path of a SQLite file, which ``root`` need not be."""
    return root.resolve() / uri.removeprefix(SQLITE)


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

    tags = _KIND | {"mlflow.note.content": DESCRIPTION, view.TAG: view.view()}
    if found := client.get_experiment_by_name(EXPERIMENT):
        for name in (name for name, value in tags.items() if found.tags.get(name) != value):
            client.set_experiment_tag(found.experiment_id, name, tags[name])
        return str(found.experiment_id)
    try:
        return client.create_experiment(EXPERIMENT, artefacts, tags)
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


def _stage_run(client: MlflowClient, experiment_id: str, stage_run: StageRun, parent: Run) -> Run:
    tags = stage_run.common_tags() | {"stage": stage_run.stage, KEY: stage_run.key} | dict(stage_run.tags)
    tags |= {"mlflow.parentRunId": parent.info.run_id, _OWNER: owner()}
    _delete_replaced(client, experiment_id, stage_run, parent)
    unfinished = _unfinished(client, experiment_id, stage_run)
    if not unfinished:
        return client.create_run(experiment_id, run_name=stage_run.name, tags=tags)
    run, *older = unfinished
    for one in older:
        _delete(client, one)
    client.update_run(run.info.run_id, status="RUNNING")
    for name, value in tags.items():
        client.set_tag(run.info.run_id, name, value)
    return run


def _delete_replaced(client: MlflowClient, experiment_id: str, stage_run: StageRun, parent: Run) -> None:
    """Delete what the stage's new run stands in for: the same in this pipeline, and what the cache brought there.

    That of another pipeline stays, since it is a part of that.
    """
    for run in children(client, experiment_id, parent.info.run_id, stage_run.stage):
        same = run.data.tags.get(KEY) == stage_run.key or CACHED in run.data.tags
        if same and run.info.status == "FINISHED":
            _delete(client, run)


def _unfinished(client: MlflowClient, experiment_id: str, stage_run: StageRun) -> list[Run]:
    """Return the stage's runs that nobody is at any more, the newest first."""
    mine = f"tags.`{KEY}` = '{stage_run.key}' and tags.stage = '{stage_run.stage}'"
    found = client.search_runs([experiment_id], f"{mine} and attributes.status != 'FINISHED'")
    return [run for run in found if run.info.status != "RUNNING" or not is_alive(run.data.tags.get(_OWNER, ""))]


def children(client: MlflowClient, experiment_id: str, parent_id: str, stage: str) -> list[Run]:
    """Return the runs of a stage below the run of a pipeline."""
    mine = f"tags.mlflow.parentRunId = '{parent_id}' and tags.stage = '{stage}'"
    return list(client.search_runs([experiment_id], mine))


def _delete(client: MlflowClient, run: Run) -> None:
    delete_models(client, run)
    client.delete_run(run.info.run_id)


def delete_models(client: MlflowClient, run: Run) -> None:
    """Delete the models that a run has logged."""
    for model in run.outputs.model_outputs if run.outputs else ():
        client.delete_logged_model(model.model_id)


def log_params(client: MlflowClient, run: Run, params: Mapping[str, str]) -> None:
    """Write the settings that a run does not have yet."""
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
