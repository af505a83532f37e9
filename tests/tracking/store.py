"""An MLflow store for tests, and what a stage says to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nascommon.tracking.identity import StageRun
from nascommon.tracking.tracker import Tracker, tracked

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

URI = "sqlite:///mlflow.db"
PARAMS = {"seed": 3, "search": {"channels": 16, "noise": {"rate": 0.5}}}
LOGGER = "nascommon.tracking.tracker"
# MLflow warns of its own tables and of its own type hints when it is imported.
QUIET = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def follow(root: Path, key: str, uri: str = URI, **changed: Any) -> AbstractContextManager[Tracker]:
    """Track a stage of the pipeline `cafe01`; what a test changes is named."""
    known: dict[str, Any] = {
        "stage": "search",
        "method": "darts",
        "seed": 3,
        "data": "digits",
        "pipeline": "cafe01",
        "params": PARAMS,
    }
    return tracked(uri, StageRun(root.resolve(), key=key, **(known | changed)))


class Store:
    """The database of one project and what is in it."""

    def __init__(self, root: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.root = root
        self.client: MlflowClient = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")

    def follow(self, key: str, **changed: Any) -> AbstractContextManager[Tracker]:
        return follow(self.root, key, **changed)

    def runs(self, where: str) -> list[Run]:
        experiment = self.client.get_experiment_by_name("gapless-nas")
        assert experiment is not None
        return list(self.client.search_runs([experiment.experiment_id], where))

    def stage(self, key: str) -> Run:
        """The one run of a key."""
        (run,) = self.runs(f"tags.`gapless.key` = '{key}'")
        return run

    def pipeline(self, key: str) -> Run:
        """The run of a whole pipeline."""
        (run,) = self.runs(f"tags.`gapless.pipeline` = '{key}'")
        return run

    def models(self, name: str) -> list[LoggedModel]:
        experiment_id = self.runs("")[0].info.experiment_id
        return list(self.client.search_logged_models([experiment_id], filter_string=f"name = '{name}'"))

    def steps(self, run: Run, metric: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value) for point in history)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]
