"""Means, deviations and intervals equal the textbook's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascommon.settings import UserError
from nascommon.statistics.intervals import Summary, bootstrap_difference, summarise, wilson_interval


def test_summary_has_the_sample_standard_deviation() -> None:
    summary = summarise([2, 4, 4, 4, 5, 5, 7, 9])
    assert (summary.n, summary.mean) == (8, 5.0)
    assert summary.sd == pytest.approx(math.sqrt(32 / 7))


def test_one_value_has_no_deviation_and_equal_ones_none_at_all() -> None:
    assert summarise([3.5]) == Summary(1, 3.5, None)
    assert summarise([2, 2, 2]) == Summary(3, 2.0, 0.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(UserError, match="only finite ones"):
        summarise(values)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (95, 100, 0.88825, 0.97846),
        (81, 263, 0.2553, 0.3662),  # this and the next three: Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_equals_published_intervals(correct: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_wilson_holds_the_share_stays_in_range_and_is_symmetric(total: int, share: float, confidence: float) -> None:
    correct = round(share * total)
    low, high = wilson_interval(correct, total, confidence)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    assert wilson_interval(total - correct, total, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_narrows_with_more_images_and_less_confidence() -> None:
    def width(correct: int, total: int, confidence: float = 0.95) -> float:
        low, high = wilson_interval(correct, total, confidence)
        return high - low

    assert width(9500, 10_000) < width(95, 100) / 9
    assert width(95, 100, 0.8) < width(95, 100)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(correct: int, total: int) -> None:
    with pytest.raises(UserError, match=f"got {correct} of {total}"):
        wilson_interval(correct, total)


def test_a_difference_of_means_has_the_interval_of_independent_samples() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.normal(0.9, 0.02, 100), draw.normal(0.88, 0.06, 400)
    difference, low, high = bootstrap_difference(first.tolist(), second.tolist(), seed=1)
    assert difference == pytest.approx(first.mean() - second.mean())
    half = 1.96 * math.sqrt(first.var() / 100 + second.var() / 400)
    assert low == pytest.approx(difference - half, abs=5e-4)
    assert high == pytest.approx(difference + half, abs=5e-4)
