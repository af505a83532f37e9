"""The intraclass correlation is the textbook's, finds what was put in, and says nothing where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from nascommon.settings import UserError
from nascommon.statistics.variance import attainable_tau, intraclass_correlation, of_mean

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Six targets, four judges: table 2 of Shrout and Fleiss, Psychological Bulletin 1979."""


def test_it_is_that_of_the_textbook() -> None:
    found = intraclass_correlation(SHROUT_FLEISS)
    assert found is not None
    assert found.value == pytest.approx(0.17, abs=0.005)  # ICC(1,1), table 4
    assert found.of_mean(4) == pytest.approx(0.44, abs=0.005)  # ICC(1,4)
    assert found.sd_within**2 == pytest.approx(6.26, abs=0.01)  # mean square within targets, table 3
    assert (found.low, found.high) == pytest.approx((-0.133, 0.723), abs=0.001)  # R, irr::icc(model = "oneway")
    assert found.groups == 6


@pytest.mark.parametrize("sizes", [(3,) * 400, (2, 3, 5) * 130])
def test_it_finds_the_share_that_was_put_in_whatever_the_sizes(sizes: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    groups = [draw.normal(draw.normal(5, 2), 3, size).tolist() for size in sizes]
    found = intraclass_correlation([*groups, [1e6]])  # one measurement tells nothing, and is left out
    assert found is not None
    assert found.low < 4 / 13 < found.high
    assert found.high - found.low < 0.2
    assert found.sd_between == pytest.approx(2, abs=0.3)
    assert found.sd_within == pytest.approx(3, abs=0.2)


def test_its_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        found = intraclass_correlation((draw.normal(size=(20, 1)) + draw.normal(size=(20, 2))).tolist())
        assert found is not None
        hits += found.low < 0.5 < found.high
    assert hits == pytest.approx(380, abs=3 * (400 * 0.05 * 0.95) ** 0.5)


def test_noise_alone_is_no_share_and_agreement_is_all() -> None:
    noise = intraclass_correlation([[0, 1], [1, 0]])
    assert noise is not None
    assert noise.value == -1
    assert (noise.sd_between, noise.of_mean(3)) == (0, 0)
    agreement = intraclass_correlation([[1, 1], [2, 2]])
    assert agreement is not None
    assert (agreement.value, agreement.low, agreement.of_mean(2)) == (1, 1, 1)


@pytest.mark.parametrize("groups", [[], [[1, 2]], [[1, 2], [3]], [[4, 4], [4, 4]]])
def test_too_little_gives_none(groups: list[list[float]]) -> None:
    assert intraclass_correlation(groups) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="finite"):
        intraclass_correlation([[1, float("nan")], [1, 2]])


def test_a_mean_of_several_is_more_reliable() -> None:
    assert of_mean(0.53, 1) == pytest.approx(0.53)
    assert of_mean(0.53, 3) == pytest.approx(0.772, abs=0.001)
    assert of_mean(-0.2, 3) == 0


def test_the_ceiling_of_whole_no_and_unknown_agreement() -> None:
    assert attainable_tau(1.0) == pytest.approx(1)
    assert attainable_tau(0.0) == attainable_tau(-0.3) == 0
    assert attainable_tau(None) is None
