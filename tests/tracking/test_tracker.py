"""A run in MLflow ends as its stage ended, goes on as it goes on, and whatever becomes of MLflow, the stage goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nascommon.tracking.identity import has_died, is_alive, owner
from nascommon.tracking.tracker import Tracker
from tests.tracking.store import QUIET, Store, follow, warned

pytestmark = QUIET


def use(tracker: Tracker) -> None:
    """Do everything that a stage does with its tracker."""
    tracker.epoch(0, {"loss": 1.0})
    tracker.headline({"accuracy": 0.5})
    tracker.artefact(Path(__file__))
    tracker.model(nn.Linear(2, 2), torch.ones(2, 2))


def test_tracking_none_imports_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with follow(tmp_path, "01", uri="none") as tracker:
        use(tracker)
        assert not tracker.active
    assert list(tmp_path.iterdir()) == []
    assert warned(caplog) == []


def test_without_mlflow_the_stage_is_told_once_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with follow(tmp_path, "01") as tracker:
        use(tracker)
        assert not tracker.active
    assert warned(caplog) == [
        "MLflow is not installed, so this stage is not tracked: install mlflow or set `tracking: none`"
    ]
    assert not (tmp_path / "mlflow.db").exists()


def broken_off(store: Store, key: str, problem: BaseException, losses: tuple[float, ...] = (), **changed: Any) -> None:
    with store.follow(key, **changed) as tracker:
        for epoch, loss in enumerate(losses):
            tracker.epoch(epoch, {"loss": loss})
        assert store.stage(key).info.status == "RUNNING"
        raise problem


def fail(store: Store, key: str, *losses: float, **changed: Any) -> str:
    """Let a stage log some epochs and fail; return the id of its run."""
    with pytest.raises(RuntimeError, match="diverged"):
        broken_off(store, key, RuntimeError("diverged"), losses, **changed)
    return str(store.stage(key).info.run_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "problem", "status"),
    [
        ("10", RuntimeError("diverged"), "FAILED"),
        ("11", KeyboardInterrupt(), "KILLED"),
        ("12", SystemExit(143), "KILLED"),
    ],
)
def test_the_status_says_how_the_stage_ended(store: Store, key: str, problem: BaseException, status: str) -> None:
    with pytest.raises(type(problem)) as caught:
        broken_off(store, key, problem)
    assert caught.value is problem
    run = store.stage(key)
    assert run.info.status == status
    assert run.info.end_time is not None


def test_a_continued_run_holds_every_epoch_once(store: Store) -> None:
    first = fail(store, "13", 3.0, 2.0)
    with store.follow("13") as tracker:
        for epoch, loss in {1: 2.0, 2: 1.0, 3: 0.5}.items():
            tracker.epoch(epoch, {"loss": loss})
    run = store.stage("13")
    assert run.info.run_id == first
    assert run.info.status == "FINISHED"
    assert store.steps(run, "loss") == [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.5)]


def test_a_stage_run_again_replaces_its_run(store: Store) -> None:
    before = []
    for _ in range(2):
        with store.follow("14", pipeline="beef14") as tracker:
            tracker.epoch(0, {"loss": 1.0})
        before.append(store.stage("14").info.run_id)
    assert before[0] != before[1]
    assert store.steps(store.stage("14"), "loss") == [(0, 1.0)]
    assert len(store.runs("tags.`gapless.pipeline` = 'beef14'")) == 1


def test_the_same_key_in_two_stages_is_two_runs(store: Store) -> None:
    for stage in ("search", "retrain"):
        with store.follow("15", stage=stage):
            pass
    assert {run.data.tags["stage"] for run in store.runs("tags.`gapless.key` = '15'")} == {"search", "retrain"}


def test_a_run_of_a_living_process_is_left_alone(store: Store) -> None:
    with store.follow("16") as first:
        with store.follow("16") as second:
            second.epoch(0, {"loss": 2.0})
        first.epoch(0, {"loss": 1.0})
    runs = store.runs("tags.`gapless.key` = '16'")
    assert sorted(store.steps(run, "loss") for run in runs) == [[(0, 1.0)], [(0, 2.0)]]


def left_open(store: Store, key: str) -> str:
    """Leave a run as a process that was killed at once leaves it."""
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    name = owner().replace(str(os.getpid()), str(gone.pid), 1)
    gone.wait()
    run_id = fail(store, key, 3.0)
    store.client.set_tag(run_id, "gapless.owner", name)
    store.client.update_run(run_id, status="RUNNING")
    return run_id


def test_a_run_left_open_by_a_dead_process_is_continued(store: Store) -> None:
    run_id = left_open(store, "17")
    with store.follow("17") as tracker:
        tracker.epoch(0, {"loss": 3.0})
        tracker.epoch(1, {"loss": 2.0})
    run = store.stage("17")
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert store.steps(run, "loss") == [(0, 3.0), (1, 2.0)]


def test_a_run_left_open_by_a_dead_process_is_closed_by_any_other_stage(store: Store) -> None:
    run_id = left_open(store, "18")
    with store.follow("19", stage="retrain"):
        assert store.client.get_run(run_id).info.status == "KILLED"
        assert store.stage("19").info.status == "RUNNING"


def test_a_run_of_another_machine_is_not_called_dead() -> None:
    assert is_alive(owner())
    assert not has_died(owner())
    for other in ("elsewhere 1 2", ""):
        assert not has_died(other)
        assert not is_alive(other)


def terminated(store: Store, key: str) -> None:
    with store.follow(key):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_sigterm_unwinds_the_stage_and_closes_its_run(store: Store) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught:
            terminated(store, "20")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 128 + signal.SIGTERM
    assert store.stage("20").info.status == "KILLED"


def assert_told_once(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    (warning,) = warned(caplog)
    assert "\n" not in warning
    for word in (*words, "The rest of this stage is not tracked; its files are complete without it"):
        assert word in warning


def test_a_database_that_cannot_be_opened_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "file").write_text("not a folder")
    began = time.monotonic()
    with follow(tmp_path, "23", uri="sqlite:///file/mlflow.db") as tracker:
        use(tracker)
        assert not tracker.active
    assert time.monotonic() - began < 15
    assert_told_once(caplog, "MLflow at sqlite:///file/mlflow.db failed: ")


def test_a_file_that_is_no_database_is_told_once_and_left_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "mlflow.db").write_text("my notes\n" * 200)
    with follow(tmp_path, "24") as tracker:
        use(tracker)
    assert_told_once(caplog)
    assert (tmp_path / "mlflow.db").read_text() == "my notes\n" * 200


def test_a_dead_server_holds_the_stage_up_for_seconds_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    began = time.monotonic()
    with follow(tmp_path, "25", uri="http://me:secret@127.0.0.1:9") as tracker:
        use(tracker)
    assert time.monotonic() - began < 15
    assert_told_once(caplog, "MLflow at http://***@127.0.0.1:9 failed: ")
    assert "secret" not in caplog.text


def test_a_mute_server_holds_the_stage_up_for_seconds_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow.tracking")  # imported before the clock runs
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with follow(tmp_path, "2a", uri=f"http://me:p%40ss@{address}/?token=t0ken") as tracker:
            use(tracker)
        assert time.monotonic() - began < 8
    assert_told_once(caplog, f"MLflow at http://***@{address}/?token=*** failed: ")
    assert not {word for word in ("p@ss", "p%40ss", "t0ken") if word in caplog.text}


@pytest.mark.parametrize("uri", ["postgresql://user:p@s3/cret@host/db", "http://user:p/w0rd@host"])
def test_a_password_at_which_an_address_would_be_cut_is_not_sent_anywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, uri: str
) -> None:
    pytest.importorskip("mlflow")
    with follow(tmp_path, "2b", uri=uri) as tracker:
        use(tracker)
    assert_told_once(caplog, "://***@host", "to be written as %2F, %3F, %23, %40")
    assert not {word for word in ("p@s3", "s3/cret", "cret", "w0rd", "user:") if word in caplog.text}


def test_an_unknown_kind_of_store_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    with follow(tmp_path, "26", uri="carrier-pigeon://coop") as tracker:
        use(tracker)
    assert_told_once(caplog, "carrier-pigeon://coop")


def test_a_store_that_breaks_on_the_way_is_told_once_and_the_stage_ends_well(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    def broken(*words: object, **options: object) -> None:
        raise OSError("disk is full")

    with store.follow("27") as tracker:
        tracker.epoch(0, {"loss": 2.0})
        monkeypatch.setattr(MlflowClient, "log_batch", broken)
        for epoch in (1, 2, 3):
            tracker.epoch(epoch, {"loss": 1.0})
        assert not tracker.active
        monkeypatch.undo()
    assert_told_once(caplog, "disk is full")
    assert store.steps(store.stage("27"), "loss") == [(0, 2.0)]


def test_a_number_that_is_none_does_not_stop_the_stage(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with store.follow("28") as tracker:
        tracker.epoch(0, {"loss": float("nan"), "other": float("inf")})
        tracker.epoch(1, {"loss": 1.0})
        assert tracker.active
    assert warned(caplog) == []
