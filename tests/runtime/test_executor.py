"""Work in processes of their own: told here, ended with this one, and whatever goes wrong is one error."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.runtime.executor import IN_LINE, Piece, Processes, Tell, attempt, executor, ignore, raise_failure
from nascommon.settings import UserError
from tests.stages.project import Project

ROOT = Path(__file__).parents[2]
PATIENCE = 30
"""Seconds within which a process must start, or be gone."""


class StopError(Exception):
    pass


def square(number: int, tell: Tell) -> tuple[int, int]:
    tell(f"{number} begins")
    tell(os.getpid())
    return number**2, os.getpid()


def fails(number: int, _tell: Tell) -> int:
    if number == 1:
        raise ZeroDivisionError("no images")
    return number


def cannot_be_used(_number: int, _tell: Tell) -> int:
    raise UserError("data: run the prepare stage again")


def is_killed(_number: int, _tell: Tell) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def exits(_number: int, _tell: Tell) -> int:
    os._exit(3)


def leaves_a_child_and_is_killed(number: int, tell: Tell) -> int:
    if os.fork() == 0:
        time.sleep(10)
        os._exit(0)
    return is_killed(number, tell)


def never_ends(_number: int, tell: Tell) -> int:
    tell(os.getpid())
    time.sleep(1000)
    return 0


def pieces(work: Callable[[int, Tell], Any], count: int) -> list[Piece[Any]]:
    return [Piece(f"piece {number}", work, (number,)) for number in range(count)]


def do(
    work: Callable[[int, Tell], Any], count: int, on_message: Callable[[int, Any], None] = lambda *_: None
) -> list[Any]:
    return Processes(2).run(pieces(work, count), on_message=on_message)


def assert_gone(pids: set[int]) -> None:
    ends = time.monotonic() + PATIENCE
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < ends, "a process outlives its parent"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except OSError:
        return sys.platform != "linux"


def test_every_piece_is_done_and_what_it_tells_arrives_in_order() -> None:
    told: dict[int, list[Any]] = {}
    ended: dict[int, Any] = {}
    results = Processes(2).run(
        pieces(square, 5),
        on_message=lambda index, content: told.setdefault(index, []).append(content),
        on_result=ended.__setitem__,
    )
    assert [squared for squared, _ in results] == [0, 1, 4, 9, 16]
    assert [ended[index] for index in range(5)] == results
    pids = {pid for _, pid in results}
    assert len(pids) <= 2
    assert os.getpid() not in pids
    assert told == {index: [f"{index} begins", pid] for index, (_, pid) in enumerate(results)}
    assert_gone(pids)


def test_in_line_too_results_are_in_the_order_of_the_pieces_and_told_as_they_come() -> None:
    told: list[tuple[int, Any]] = []
    ended: dict[int, Any] = {}
    results = IN_LINE.run(pieces(square, 3), on_message=lambda *said: told.append(said), on_result=ended.__setitem__)
    assert [squared for squared, _ in results] == [0, 1, 4]
    assert [ended[index] for index in range(3)] == results
    assert {(index, said) for index, said in told if isinstance(said, str)} == {(i, f"{i} begins") for i in range(3)}


def test_one_at_a_time_needs_no_other_process_and_the_first_failure_comes_through_as_it_is() -> None:
    assert executor(1) is IN_LINE
    assert executor(3, threads=2) == Processes(3, 2)
    assert {pid for _, pid in IN_LINE.run(pieces(square, 2))} == {os.getpid()}
    begun: list[int] = []

    def stops(number: int, _tell: Tell) -> None:
        begun.append(number)
        raise StopError

    with pytest.raises(StopError):
        IN_LINE.run(pieces(stops, 3))
    assert begun == [0]


def threads(_number: int, _tell: Tell) -> int:
    return torch.get_num_threads()


@pytest.mark.slow
def test_each_process_computes_with_its_threads() -> None:
    assert Processes(2, threads=3).run(pieces(threads, 2)) == [3, 3]


def fills_the_memory_of_the_gpu(number: int, _tell: Tell) -> None:
    raise torch.OutOfMemoryError(f"tried to allocate {number + 2} GiB")


def told_of_the_first(work: Callable[[int, Tell], Any]) -> None:
    """Do a piece as a process of its own does, and raise what is told of it, as happens here."""
    (piece,) = pieces(work, 1)
    kind, failure = attempt(pickle.dumps(piece), ignore)
    assert kind == "failure"
    raise_failure(piece.name, pickle.loads(pickle.dumps(failure)))


def test_a_piece_that_finds_the_memory_of_the_gpu_full_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"^piece 0: the memory of the GPU is full \(.*2 GiB\); set jobs to a lower"):
        told_of_the_first(fills_the_memory_of_the_gpu)


def runs_short_of_memory(_number: int, _tell: Tell) -> None:
    raise MemoryError


def loses_its_loader(_number: int, _tell: Tell) -> None:
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


@pytest.mark.parametrize(
    ("work", "said"),
    [(runs_short_of_memory, "the memory is full"), (loses_its_loader, "a process that decodes pictures")],
)
def test_what_the_user_can_mend_in_the_machine_is_told_as_if_it_were_done_here(
    work: Callable[[int, Tell], None], said: str
) -> None:
    with pytest.raises(UserError, match=rf"^piece 0: {said}"):
        told_of_the_first(work)


def test_an_exception_names_the_piece_and_shows_where_it_was_raised() -> None:
    with pytest.raises(RuntimeError) as raised:
        do(fails, 2)
    assert str(raised.value) == "piece 1: ZeroDivisionError: no images"
    assert "in fails" in "".join(raised.value.__notes__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "said"),
    [
        (cannot_be_used, r"^piece [01]: data: run the prepare stage again$"),
        (is_killed, r"^piece [01]: its process was ended by SIGKILL, as happens when memory runs out; .* goes on from"),
        (leaves_a_child_and_is_killed, r"^piece [01]: its process was ended by SIGKILL"),
        (exits, r"^piece [01]: its process ended with status 3\."),
    ],
)
def test_what_the_user_can_mend_is_one_line_that_names_the_piece(work: Callable[[int, Tell], int], said: str) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        do(work, 3)
    assert time.monotonic() - started < PATIENCE


@pytest.mark.slow
def test_an_exception_here_ends_the_processes() -> None:
    pids: set[int] = set()

    def stop(_index: int, pid: int) -> None:
        pids.add(pid)
        if len(pids) == 2:
            raise StopError

    with pytest.raises(StopError):
        do(never_ends, 2, stop)
    assert_gone(pids)


PARENT = textwrap.dedent("""
    from tests.runtime import test_executor as tests
    try:
        tests.do(tests.never_ends, 2, lambda _index, pid: print(pid, flush=True))
    except KeyboardInterrupt:
        print("stopped")
""")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    if number == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this shell lets its jobs ignore Ctrl-C")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, env=Project.environment(ROOT), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pids = {int(parent.stdout.readline()) for _ in range(2)}
    os.killpg(parent.pid, number)
    out, err = parent.communicate(timeout=PATIENCE)
    assert_gone(pids)
    assert (out, err) == ("stopped\n" if number == signal.SIGINT else "", "")
