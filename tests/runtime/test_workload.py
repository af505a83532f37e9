"""The time of a piece is a mean over all that were done, and the time left follows from who has what to do."""

from __future__ import annotations

import pytest

from nascommon.runtime.workload import Workload


def run(total: int, at_a_time: int, seconds: float, parts: int = 4) -> list[tuple[float, float | None, float | None]]:
    """Do equal pieces side by side; return (moment, seconds each, seconds left) at the end of every piece."""
    work, told = Workload(total, at_a_time, began=0.0), []
    for first in range(0, total, at_a_time):
        together, start = range(first, min(first + at_a_time, total)), first // at_a_time * seconds
        for part in range(1, parts + 1):
            for index in together:
                work.part(index, part, parts, start + seconds * part / parts)
        for index in together:
            work.end(index, start + seconds)
            told.append((start + seconds, work.seconds_each(start + seconds), work.seconds_left()))
    return told


@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_equal_pieces_side_by_side_take_the_mean_time_and_the_time_left_is_exact(at_a_time: int) -> None:
    told = run(6, at_a_time, 12.0)
    assert [each for _, each, _ in told] == pytest.approx([12.0 / at_a_time] * 6)
    end = 12.0 * 6 / at_a_time
    assert [left for _, _, left in told[:-1]] == pytest.approx([end - now for now, _, _ in told[:-1]])
    assert told[-1][2] is None


def test_a_last_piece_alone_takes_as_long_as_any_other() -> None:
    """Three pieces by two workers: while the third runs, one worker has nothing to do, and a half is no sixth."""
    work = Workload(3, 2, began=0.0)
    for index in (0, 1):
        work.part(index, 1, 1, now=10.0)
    assert work.seconds_left() == pytest.approx(10.0)  # of three, the two at their end stand at a share of one
    for index in (0, 1):
        work.end(index, now=10.0)
    work.part(2, 1, 2, now=15.0)
    assert work.seconds_left() == pytest.approx(5.0)


def test_what_an_earlier_process_did_makes_nothing_look_fast() -> None:
    work = Workload(4, 1, began=0.0)
    for index in (0, 1):
        work.end(index, now=0.1)
        assert (work.seconds_each(0.1), work.seconds_left()) == (None, None)
    work.part(2, 4, 4, now=5.1)  # one that goes on in its last quarter
    work.end(2, now=5.1)
    assert work.seconds_each(5.1) == pytest.approx(4 * 5.1)
    assert work.seconds_left() == pytest.approx(4 * 5.1)
