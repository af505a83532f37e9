"""Work in processes of their own: told here, ended with this one, and whatever goes wrong is one error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nascommon.runtime.crew import Tell, side_by_side
from nascommon.settings import UserError

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


def do(work: Callable[[int, Tell], Any], count: int, on_message: Callable[[int, Any], None] = lambda *_: None) -> Any:
    results: dict[int, Any] = {}
    side_by_side(
        range(count), work, processes=2, name="task {}".format, on_message=on_message, on_result=results.__setitem__
    )
    return results


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


def test_every_task_is_done_and_what_it_tells_arrives_in_order() -> None:
    told: dict[int, list[Any]] = {}
    results = do(square, 5, lambda index, content: told.setdefault(index, []).append(content))
    assert {index: squared for index, (squared, _) in results.items()} == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    pids = {pid for _, pid in results.values()}
    assert len(pids) <= 2
    assert os.getpid() not in pids
    assert told == {index: [f"{index} begins", pid] for index, (_, pid) in results.items()}
    assert_gone(pids)


def test_an_exception_names_the_task_and_shows_where_it_was_raised() -> None:
    with pytest.raises(RuntimeError) as raised:
        do(fails, 2)
    assert str(raised.value) == "task 1: ZeroDivisionError: no images"
    assert "in fails" in "".join(raised.value.__notes__)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (cannot_be_used, r"^task [01]: data: run the prepare stage again$"),
        (is_killed, r"^task [01]: its process was ended by SIGKILL, as happens when memory runs out; .* goes on from"),
        (leaves_a_child_and_is_killed, r"^task [01]: its process was ended by SIGKILL"),
        (exits, r"^task [01]: its process ended with status 3\."),
    ],
)
def test_what_the_user_can_mend_is_one_line_that_names_the_task(work: Callable[[int, Tell], int], said: str) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        do(work, 3)
    assert time.monotonic() - started < PATIENCE


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
    from tests.runtime import test_crew as tests
    try:
        tests.do(tests.never_ends, 2, lambda _index, pid: print(pid, flush=True))
    except KeyboardInterrupt:
        print("stopped")
""")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    if number == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this shell lets its jobs ignore Ctrl-C")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pids = {int(parent.stdout.readline()) for _ in range(2)}
    os.killpg(parent.pid, number)
    out, err = parent.communicate(timeout=PATIENCE)
    assert_gone(pids)
    assert (out, err) == ("stopped\n" if number == signal.SIGINT else "", "")
