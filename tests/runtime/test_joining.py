"""Ranks that wait for one that is gone, or hangs, say so in one line and name it; one of all speaks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from nascommon.runtime import joining, ranks
from nascommon.runtime.joining import LostError, Started, joined, on_this_machine, speaks, started
from nascommon.settings import UserError
from tests.runtime.team import free_port, on_ranks

ENVIRONMENT = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "head", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "BEAT_SECONDS", 0.1)


def two_steps(fault: str) -> float:
    """Wait for the others twice; before the second time rank 1 has its fault."""
    ranks.totals(1.0)
    time.sleep(0.3)
    if ranks.share().index == 1 and fault == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if ranks.share().index == 1 and fault == "hangs":
        time.sleep(3)
        return 0.0
    return ranks.totals(1.0)[0]


def test_ranks_that_all_answer_come_to_their_sum() -> None:
    assert on_ranks(3, two_steps, "") == [3.0] * 3


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_the_rank_that_does_not_answer_is_named(fault: str) -> None:
    first, faulty, last = on_ranks(3, two_steps, fault, patience=1)
    assert faulty == (None if fault == "dies" else 0.0)
    for told in (first, last):
        assert isinstance(told, LostError)
        assert str(told).startswith("rank 1 of 3 does not answer: it hangs or is gone (waited ")
        assert "\n" not in str(told)


def test_one_of_all_ranks_speaks() -> None:
    assert sorted(on_ranks(3, speaks)) == [False, False, True]


def test_a_process_that_nobody_started_as_a_rank_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started() is None
    assert on_this_machine() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as other programs set it, without saying which rank it is
    assert started() is None
    assert speaks()


def test_a_rank_is_told_which_one_it_is_in_the_variables_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert started() == Started(rank=1, count=4, host="head", port=29500, local_rank=0, local_count=1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert started() == Started(rank=1, count=4, host="head", port=29500, local_rank=1, local_count=2)
    assert on_this_machine() == (0, 1)  # it has not joined the others, and need not
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert started() is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE: must be a whole number from 1 to 1000000 (got 'many'); "),
        ({"RANK": "4"}, "RANK: must be a whole number from 0 to 3 (got '4'); "),
        ({"RANK": "-1"}, "RANK: must be a whole number from 0 to 3 (got '-1'); "),
        ({"MASTER_PORT": "http"}, "MASTER_PORT: must be a whole number from 1 to 65535 (got 'http'); "),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR: not set, beside RANK and WORLD_SIZE=4; "),
        (
            {"MASTER_ADDR": "", "MASTER_PORT": ""},
            "MASTER_ADDR and MASTER_PORT: not set, beside RANK and WORLD_SIZE=4; ",
        ),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK: must be 0 (got '1'); "),  # all would take the first GPU
        ({"LOCAL_WORLD_SIZE": "5"}, "LOCAL_WORLD_SIZE: must be a whole number from 1 to 4 (got '5'); "),
    ],
)
def test_variables_that_contradict_each_other_are_told_by_name(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    for name, value in {**ENVIRONMENT, **changed}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as told:
        started()
    assert str(told.value).startswith(message)
    assert "for one process unset them" in str(told.value)


@pytest.mark.parametrize("host", ["localhost", "no.such.host.invalid"])
def test_a_rank_does_not_wait_for_the_store_of_a_starter_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], host: str
) -> None:
    monkeypatch.setattr(joining, "STARTER_SECONDS", 0.5)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    told, began = Started(0, 2, host, free_port(), 0, 1), time.monotonic()
    with pytest.raises(UserError, match=rf"rank 0 of 2 does not find the others at {host}:\d+, where"), joined(told):
        pytest.fail("joined nobody")
    assert time.monotonic() - began < 60
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_nobody_joins_says_meanwhile_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], rank: int
) -> None:
    told = Started(rank, 2, "localhost", free_port(), 0, 1)
    monkeypatch.setattr(joining, "SILENT_SECONDS", 0.1)
    for name, value in (("RANK", rank), ("WORLD_SIZE", 2), ("MASTER_ADDR", told.host), ("MASTER_PORT", told.port)):
        monkeypatch.setenv(name, str(value))
    message = f"rank {rank} of 2 does not find the others at localhost:{told.port}, where"
    with pytest.raises(UserError, match=message), joined(told, timedelta(seconds=1)):
        pytest.fail("joined nobody")
    waits = f"rank {rank} of 2 waits for the others, as WORLD_SIZE=2 says, at localhost:{told.port}\n"
    assert capfd.readouterr().err == waits


def alone(told: Started) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    os.environ |= {"RANK": str(told.rank), "WORLD_SIZE": str(told.count)}
    os.environ |= {"MASTER_ADDR": told.host, "MASTER_PORT": str(told.port)}
    with joined(told):
        pytest.fail("joined nobody")


def test_ctrl_c_ends_a_rank_that_waits_for_the_first_meeting() -> None:
    told, ends = Started(0, 2, "localhost", free_port(), 0, 1), time.monotonic() + 60
    rank = multiprocessing.get_context("fork").Process(target=alone, args=(told,))
    rank.start()
    while time.monotonic() < ends:  # until it has opened the store in which it waits
        with suppress(ConnectionRefusedError), socket.create_connection((told.host, told.port)):
            break
    time.sleep(0.5)
    assert rank.pid is not None
    os.kill(rank.pid, signal.SIGINT)
    rank.join(20)
    status = rank.exitcode
    rank.kill()
    assert status == -signal.SIGINT


def printed() -> str:
    print("said by every rank")
    return ""


def test_the_first_rank_alone_prints(capfd: pytest.CaptureFixture[str]) -> None:
    on_ranks(3, printed)
    assert capfd.readouterr().out == "said by every rank\n"
