"""An accuracy is placed among random architectures by the stated formulas, and few of them prove nothing."""

from __future__ import annotations

import json
import math
from typing import Literal

import pytest

from nascommon.settings import UserError
from nascommon.statistics.null import NullDistribution, compare, null_from_accuracies, published_null
from tests.oracles import rules

FIVE = null_from_accuracies([93.0, 91.0, 92.0, 95.0, 92.0])


def many(n: int) -> NullDistribution:
    """Random architectures from 90 % upwards, evenly spaced by a hundredth."""
    return null_from_accuracies([90 + i / 100 for i in range(n)])


def test_the_published_null_holds_the_214_networks() -> None:
    null = published_null()
    assert (null.n, null.mean, null.sd) == (214, 96.9492, 0.2331)
    assert len(null.quantiles) == 21
    assert (null.quantiles[0], null.quantiles[10], null.quantiles[20]) == (96.03, 96.99, 97.41)
    assert "last epoch" in null.source
    assert null.smallest_p == pytest.approx(2 / 215)


def test_best_epochs_have_a_null_of_their_own() -> None:
    null = published_null("best_epoch")
    assert (null.mean, null.quantiles[10]) == (97.0341, 97.07)
    assert "best epoch" in null.source
    assert compare(97.3, null).p_value > compare(97.3, published_null()).p_value


@pytest.mark.parametrize("epoch", ["last_epoch", "best_epoch"])
def test_the_packaged_summary_is_that_of_the_published_curves(epoch: Literal["last_epoch", "best_epoch"]) -> None:
    null, published = published_null(epoch), rules.oracle("random_null")
    assert null.n == published["n"]
    assert (null.mean, null.sd) == (published[epoch]["mean"], published[epoch]["sd"])
    assert null.quantiles == tuple(published[epoch]["quantiles"])


@pytest.mark.parametrize(
    ("accuracy", "worse", "equal"),
    [(96.0, 0, 0), (96.03, 0, 1), (96.99, 106.5, 1), (97.005, 112, 1), (97.41, 213, 1), (97.42, 214, 0)],
)
def test_between_quantiles_the_count_is_interpolated(accuracy: float, worse: float, equal: float) -> None:
    # 97.005 lies halfway between the quantiles at 50 and 55 percent: 0.525 * 213 = 111.8.
    result = compare(accuracy, published_null())
    assert result.percentile == pytest.approx(100 * (worse + equal / 2) / 214, abs=0.1)
    further_out = min(214 - worse, worse + equal)
    assert result.p_value == pytest.approx(min(1, 2 * (further_out + 1) / 215), abs=2e-3)


def test_an_accuracy_further_out_never_has_a_larger_p_value() -> None:
    results = [compare(95.9 + i / 100, published_null()) for i in range(170)]
    p_values, percentiles = ([getattr(result, name) for result in results] for name in ("p_value", "percentile"))
    middle = p_values.index(1.0)
    assert p_values[:middle] == sorted(p_values[:middle])
    assert p_values[middle:] == sorted(p_values[middle:], reverse=True)
    assert percentiles == sorted(percentiles)
    assert p_values[0] == p_values[-1] == pytest.approx(2 / 215)


def test_one_of_twenty_random_architectures_is_called_better_or_worse_than_random() -> None:
    values = [90 + i / 100 for i in range(40)]
    verdicts = [
        compare(own, null_from_accuracies([other for other in values if other != own])).verdict.split(" than")[0]
        for own in values
    ]
    assert verdicts == ["worse", *["not shown to be better"] * 38, "better"]


@pytest.mark.parametrize(
    ("accuracy", "percentile", "p_value"),
    [(90.0, 0, 2 / 6), (92.0, 40, 1.0), (92.5, 60, 1.0), (95.0, 90, 4 / 6), (99.0, 100, 2 / 6)],
)
def test_own_samples_are_counted_and_ties_count_half(accuracy: float, percentile: float, p_value: float) -> None:
    result = compare(accuracy, FIVE)
    assert result.percentile == pytest.approx(percentile)
    assert result.p_value == pytest.approx(p_value)
    assert result.n == 5
    assert result.smallest_p == pytest.approx(2 / 6)


def test_the_distance_is_in_standard_deviations() -> None:
    assert FIVE.mean == pytest.approx(92.6)
    assert FIVE.sd == pytest.approx(math.sqrt(2.3))
    assert compare(94.6, FIVE).standard_distance == pytest.approx(2 / math.sqrt(2.3))
    assert compare(97.0, published_null()).standard_distance == pytest.approx((97 - 96.9492) / 0.2331)


@pytest.mark.parametrize("accuracies", [[92.0], [92.0, 92.0]])
def test_random_architectures_without_spread_give_no_distance(accuracies: list[float]) -> None:
    assert compare(95.0, null_from_accuracies(accuracies)).standard_distance is None


@pytest.mark.parametrize(
    ("accuracy", "n", "verdict"),
    [
        (99.0, 39, "better than random: ahead of 100 % of 39 random architectures, p = 0.05"),
        (80.0, 39, "worse than random: ahead of 0 % of 39 random architectures, p = 0.05"),
        (90.305, 39, "not shown to be better than random: ahead of 79.4 % of 39 random architectures, p = 0.45"),
    ],
)
def test_enough_random_architectures_allow_a_verdict(accuracy: float, n: int, verdict: str) -> None:
    assert compare(accuracy, many(n)).verdict == verdict


def test_too_few_random_architectures_are_said_to_show_nothing() -> None:
    verdict = compare(99.0, many(38)).verdict
    assert verdict.startswith("not shown to be better than random: ahead of 100 % of 38")
    assert "38 are too few" in verdict
    assert "below 0.051, 39 are needed for 0.05" in verdict


def test_as_dict_is_json() -> None:
    result = compare(95.0, FIVE)
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["verdict"] == result.verdict


@pytest.mark.parametrize("accuracy", [-0.1, 100.1, math.nan, math.inf])
def test_what_is_no_percentage_is_refused(accuracy: float) -> None:
    with pytest.raises(UserError, match="between 0 and 100"):
        compare(accuracy, FIVE)
    with pytest.raises(UserError, match="between 0 and 100"):
        null_from_accuracies([95.0, accuracy])


def test_no_random_architecture_is_refused() -> None:
    with pytest.raises(UserError, match="at least one number"):
        null_from_accuracies([])
