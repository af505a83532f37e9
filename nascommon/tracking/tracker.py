"""MLflow watches a stage, and nothing that happens to MLflow can stop the stage or hold it up for long."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nascommon.secrets import masked
from nascommon.settings import cut, one_line
from nascommon.tracking import across, store, writing
from nascommon.tracking.identity import StageRun, sigterm_unwinds
from nascommon.tracking.models import Packaging, save_model

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


class Tracker:
    """One stage's run in MLflow; where tracking is off or has failed, every method does nothing."""

    def __init__(self, uri: str, run: store.OpenRun | None) -> None:
        self._uri = uri
        self._run = run

    @property
    def active(self) -> bool:
        """Return whether what is logged now is recorded."""
        return self._run is not None

    def epoch(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of epoch `step`; an epoch that a continued run already holds is not logged again."""
        self._try(lambda run: writing.log_epoch(run, step, metrics))

    def headline(self, metrics: Mapping[str, float]) -> None:
        """Log final numbers to the stage's run."""
        self._try(lambda run: writing.log_headline(run, metrics))

    def result(self, metrics: Mapping[str, float], description: str, files: Iterable[Path]) -> None:
        """Log what the pipeline came to, to its own run: figures, a description in Markdown, files."""
        self._try(lambda run: writing.log_result(run, metrics, description, files))

    def cached(
        self, stage: str, metrics: Mapping[str, float], epochs: Sequence[tuple[int, Mapping[str, float]]] = ()
    ) -> None:
        """Log final numbers and (epoch, metrics) of a stage that came from the cache, marked as such.

        Where the pipeline has a run of that stage already, nothing is logged.
        """
        self._try(lambda run: writing.log_cached(run, stage, metrics, epochs))

    def artefact(self, path: Path, folder: str = "") -> None:
        """Copy a file, or what is in a folder, into a folder of the artefacts; a missing one is only reported."""
        if self.active and not path.exists():
            _log.warning("%s does not exist, so MLflow did not get it", path)
            return
        self._try(lambda run: writing.log_artefact(run, path, folder))

    def model(
        self, network: torch.nn.Module, example: torch.Tensor, name: str = "model", packaging: Packaging | None = None
    ) -> None:
        """Log a network that `mlflow.pytorch.load_model` loads and pyfunc predicts with, without this package.

        It is a copy: an exported graph in evaluation mode, on the CPU, for any batch size. A network that cannot be
        exported is only reported.

        Args:
            network: In evaluation mode its forward takes one tensor and returns one.
            example: Images, BCHW, on the device of the network or any other; the first two go into the record.
            name: Name of the model.
            packaging: What pyfunc puts around the network; None lets it run the network itself.
        """

        def act(run: store.OpenRun) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch, "model")
                if _saved(network, example, folder, packaging):
                    writing.log_model(run, folder, name)

        self._try(act)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED; the run of the pipeline is FINISHED whatever happened."""
        self._try(lambda run: writing.close_run(run, status))

    def _try(self, act: Callable[[store.OpenRun], object]) -> None:
        if self._run is None:
            return
        try:
            act(self._run)
        except Exception as problem:  # noqa: BLE001 - whatever breaks in tracking must not break the stage
            self._run = None
            _warn(self._uri, problem)


@contextmanager
def tracked_pipeline(uri: str, stage_run: StageRun) -> Iterator[Tracker]:
    """Follow what is known of a pipeline all of whose stages came from the cache; raises no more than `tracked`."""
    yield Tracker(uri, _opened(uri, stage_run, store.open_pipeline))


@contextmanager
def tracked(uri: str, stage_run: StageRun) -> Iterator[Tracker]:
    """Follow one stage in MLflow: FINISHED at the end, KILLED on Ctrl-C or SIGTERM, FAILED on an exception.

    A run with the same `key` that did not finish is continued, one that finished is replaced. Tracking never raises:
    what fails is reported once, in words, and the rest of the stage goes untracked.

    Args:
        uri: `none`; or `sqlite:///FILE` relative to the project root, with artefacts in `mlartifacts` beside FILE; or
            anything that MLflow knows.
        stage_run: What is known of the stage's run.
    """
    with sigterm_unwinds():
        tracker = Tracker(uri, _opened(uri, stage_run, store.open_run))
        try:
            yield tracker
        except (KeyboardInterrupt, SystemExit):
            tracker.close("KILLED")
            raise
        except BaseException:
            tracker.close("FAILED")
            raise
        tracker.close("FINISHED")


def finished_runs(uri: str, project_root: Path, stage: str, protocol: str | None = None) -> list[across.FinishedRun]:
    """Return the newest finished run by method, settings, seed and protocol, or of one alone; [] where that fails."""
    if uri == "none":
        return []
    try:
        return across.finished_runs(uri, project_root.resolve(), stage, protocol)
    except ModuleNotFoundError:
        return []
    except Exception as problem:  # noqa: BLE001 - whatever breaks in tracking must not break the stage
        _warn(uri, problem)
        return []


def track_study(
    uri: str, project_root: Path, key: str, name: str, metrics: Mapping[str, float], files: Sequence[Path]
) -> None:
    """Log a study as one run with its files, in the place of an earlier one of the same key; what fails is reported."""
    if uri == "none":
        return
    try:
        across.log_study(uri, project_root.resolve(), key, name, metrics, files)
    except ModuleNotFoundError:
        return
    except Exception as problem:  # noqa: BLE001 - whatever breaks in tracking must not break the study
        _warn(uri, problem)


def _opened(uri: str, stage_run: StageRun, open_it: Callable[[str, StageRun], store.OpenRun]) -> store.OpenRun | None:
    if uri == "none":
        return None
    try:
        return open_it(uri, stage_run)
    except ModuleNotFoundError as problem:
        if str(problem.name).partition(".")[0] != "mlflow":
            _warn(uri, problem)
            return None
        _log.warning("MLflow is not installed, so this stage is not tracked: install mlflow or set `tracking: none`")
    except Exception as problem:  # noqa: BLE001 - whatever breaks in tracking must not break the stage
        _warn(uri, problem)
    return None


def _saved(network: torch.nn.Module, example: torch.Tensor, folder: Path, packaging: Packaging | None) -> bool:
    try:
        save_model(network, example, folder, packaging)
    except Exception as problem:  # noqa: BLE001 - torch.export raises whatever the network's own code raises
        _log.warning("the network could not be exported, so MLflow did not get it: %s", _first_line(problem))
        return False
    return True


def _warn(uri: str, problem: Exception) -> None:
    text = masked(f"MLflow at {uri} failed: {_first_line(problem, uri)}", uri)
    _log.warning("%s. The rest of this stage is not tracked; its files are complete without it", one_line(text))


def _first_line(problem: Exception, uri: str = "") -> str:
    lines = masked(str(problem), uri).splitlines()
    return next((cut(line.strip(), 300) for line in lines if line.strip()), type(problem).__name__)
