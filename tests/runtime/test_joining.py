"""Ranks that wait for one that is gone, or hangs, say so in one line and name it; one of all speaks."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nascommon.runtime import joining, ranks
from nascommon.runtime.joining import LostError, expected, on_this_machine, speaks
from tests.runtime.team import on_ranks


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
    assert not expected()
    assert on_this_machine() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as other programs set it, without saying where the others are
    assert not expected()
    assert speaks()


def printed() -> str:
    print("said by every rank")
    return ""


def test_the_first_rank_alone_prints(capfd: pytest.CaptureFixture[str]) -> None:
    on_ranks(3, printed)
    assert capfd.readouterr().out == "said by every rank\n"
