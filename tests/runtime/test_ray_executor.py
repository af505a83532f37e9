"""Pieces on Ray: told and failing as in processes; a lost worker's piece is taken up; without Ray a line says so."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from nascommon.runtime import ray_executor
from nascommon.runtime.executor import PROCESSES, Piece, Processes, Tell, executor
from nascommon.runtime.ray_executor import LOSSES, Capacity, OnRay, capacity
from nascommon.settings import UserError
from tests.runtime.test_executor import cannot_be_used, fails, is_killed, pieces, square, threads

pytestmark = [
    pytest.mark.timeout(600),
    # Of a start of Ray that a busy machine did not finish in time, objects of processes that were ended are left.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_ray_is_taken_where_the_setting_says_so_and_nowhere_else() -> None:
    assert executor(2, 1) == executor(2, 1, PROCESSES, gpus=1) == Processes(2, 1)
    assert executor(1, None, "ray") == OnRay("ray", 1, threads=1, gpus=0)
    assert executor(8, 2, "head:6379", gpus=1) == OnRay("head:6379", 8, threads=2, gpus=1)


@pytest.mark.parametrize("where", ["ray", "head:6379"])
def test_without_ray_a_line_says_what_to_install(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as raised:
        executor(2, 1, where).run(pieces(square, 2))
    assert str(raised.value) == (
        f"executor: {where}: Ray is not installed; pip install ray (the extra `ray` of this project), or set "
        "executor: processes"
    )


def test_an_address_at_which_nobody_listens_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(
        UserError, match=r"^executor: 127\.0\.0\.1:1: no cluster of Ray answers \(.*refused\); see docs/"
    ):
        executor(2, 1, "127.0.0.1:1").run(pieces(square, 1))


def cluster(monkeypatch: pytest.MonkeyPatch, *machines: dict[str, float], dead: int = 0) -> None:
    """Let the cluster have machines with these resources, and some that are gone."""
    nodes = [{"Alive": True, "Resources": has} for has in machines]
    nodes += [{"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}] * dead
    monkeypatch.setattr(ray_executor, "connected", lambda _where: SimpleNamespace(nodes=lambda: nodes))


def test_a_cluster_holds_what_its_machines_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, {"CPU": 3.0}, {"CPU": 3.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 4.0}, {}, dead=1)
    assert capacity("head:6379", cpus=1, gpus=0) == Capacity(pieces=7, memories=3)
    assert capacity("head:6379", cpus=2, gpus=0) == Capacity(pieces=2, memories=2)  # never across two machines
    assert capacity("head:6379", cpus=1, gpus=1) == Capacity(pieces=3, memories=3)
    with pytest.raises(UserError, match=r"^executor: head:6379: no machine has 4 CPUs and 1 GPU; set threads or"):
        capacity("head:6379", cpus=4, gpus=1)


def test_a_ray_of_this_machine_is_not_started_to_learn_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "connected", None)
    monkeypatch.setattr(ray_executor, "cores", lambda: 5)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert capacity("ray", cpus=2, gpus=0) == Capacity(pieces=2, memories=1)
    assert capacity("ray", cpus=1, gpus=1) == Capacity(pieces=4, memories=4)


# --- with a Ray of this machine


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """Two CPUs, however many there are, so that two pieces run at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "cores", lambda: 2)
        ray = ray_executor.connected("ray")
    yield
    ray.shutdown()


def dies_once(folder: str, number: int, tell: Tell) -> tuple[int, str]:
    """Lose two workers and then say in which folder it was done."""
    tell(f"{number} begins")
    lost = len(list(Path(folder).iterdir()))
    if number == 1 and lost < LOSSES - 1:
        Path(folder, str(lost)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2, str(Path.cwd())


def on_ray(work: Callable[..., Any], count: int, **hooks: Any) -> list[Any]:
    return executor(2, 1, "ray").run(pieces(work, count), **hooks)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_every_piece_is_done_elsewhere_and_what_it_tells_arrives_in_order() -> None:
    told: dict[int, list[Any]] = {}
    ended: dict[int, Any] = {}
    results = on_ray(
        square, 5, on_message=lambda index, said: told.setdefault(index, []).append(said), on_result=ended.__setitem__
    )
    assert [squared for squared, _ in results] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {pid for _, pid in results}
    assert told == {index: [f"{index} begins", pid] for index, (_, pid) in enumerate(results)}
    assert [ended[index] for index in range(5)] == results
    assert executor(2, 2, "ray").run(pieces(threads, 2)) == [2, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [
        (cannot_be_used, UserError, r"^piece [01]: data: run the prepare stage again$"),
        (fails, RuntimeError, r"^piece 1: ZeroDivisionError: no images"),
        (is_killed, UserError, rf"^piece [01]: {LOSSES} workers in a row were lost \(.*\)\. .* goes on from there$"),
    ],
)
def test_what_goes_wrong_names_the_piece(work: Callable[..., Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as raised:
        on_ray(work, 1 if work is is_killed else 2)
    assert kind is UserError or "in fails" in "".join(raised.value.__notes__)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_piece_whose_worker_is_lost_is_taken_up_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lost").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    work = [Piece(f"piece {i}", dies_once, (str(tmp_path / "lost"), i)) for i in range(3)]
    told: list[str] = []
    with caplog.at_level(logging.WARNING, logger=ray_executor.__name__):
        results = executor(2, 1, "ray").run(work, on_message=lambda _index, said: told.append(said))
    assert results == [(number**2, str(tmp_path / "project")) for number in range(3)]
    assert sorted(told) == ["0 begins", *["1 begins"] * LOSSES, "2 begins"]
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["piece 1: its worker was lost"] * 2


def loses_the_desk(_number: int, tell: Tell) -> None:
    """Kill the process that takes what pieces tell; it has the same parent."""
    tell("begun")
    (desk,) = [one for one in psutil.Process(os.getppid()).children() if "ray::Desk" in "".join(one.cmdline())]
    desk.kill()
    time.sleep(60)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_that_ray_itself_is_lost_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^executor: ray: Ray was lost \(.*\)\. What is finished is kept") as raised:
        on_ray(loses_the_desk, 1)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_folder_that_a_machine_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "cwd", lambda: gone)
    with pytest.raises(UserError, match=r"^piece [01]: .*/gone: not on .* \(No such file .*\); all machines of a clus"):
        on_ray(square, 2)
