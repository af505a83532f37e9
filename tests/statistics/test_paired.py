"""The paired test against counts by hand, and Holm's correction against its definition."""

from __future__ import annotations

import pytest
from scipy import stats

from nascommon.settings import UserError
from nascommon.statistics.null import LEVEL
from nascommon.statistics.paired import FEWEST_PAIRS, fewest_pairs, holm, sign_flip_p, smallest_p


def test_three_pairs_cannot_show_anything_and_six_can() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0]) == smallest_p(3) == 0.25
    assert [fewest_pairs(tests) for tests in (1, 2, 3, 10)] == [6, 7, 7, 9]
    assert FEWEST_PAIRS == 6
    assert smallest_p(FEWEST_PAIRS - 1) > LEVEL >= smallest_p(FEWEST_PAIRS)
    assert smallest_p(0) == smallest_p(1) == 1.0


def test_p_is_the_share_of_signings_whose_mean_is_as_far_from_zero() -> None:
    # of the sums of +-1 +-2 +-4 (-7, -5, -3, -1, 1, 3, 5, 7), six are at least 3 from 0: 1 + 4 - 2 = 3
    assert sign_flip_p([1.0, -2.0, 4.0]) == 6 / 8
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([-0.1, -0.2, -0.7]) == sign_flip_p([0.1, 0.2, 0.7]) == 0.25


def test_it_agrees_with_scipy_and_above_the_exact_range_with_the_normal_law() -> None:
    differences = [0.3, -0.1, 0.5, 0.2, 0.4, -0.2, 0.1, 0.6]
    expected = stats.permutation_test(
        (differences, [0.0] * 8), lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples", n_resamples=2**8, vectorized=True,
    ).pvalue  # fmt: skip
    assert sign_flip_p(differences) == pytest.approx(expected)
    many = [(-1.0) ** i * 0.5 + 0.15 for i in range(40)]
    assert sign_flip_p(many, seed=3) == sign_flip_p(many, seed=3) == pytest.approx(0.08, abs=0.03)


@pytest.mark.parametrize("differences", [[], [float("nan")]])
def test_what_is_no_sample_is_refused(differences: list[float]) -> None:
    with pytest.raises(UserError, match="differences: at least one"):
        sign_flip_p(differences)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
