"""The ranking coefficients equal the published ones, slow twins and the definition; nonsense is refused."""

from __future__ import annotations

import itertools
import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from nascommon.settings import UserError
from nascommon.statistics.ranking import (
    FEWEST_FOR_INTERVAL,
    MOST,
    NORMAL_FROM,
    Floats,
    bootstrap_interval,
    permutation_p_value,
    rank_correlation,
    tau_a_and_b,
    tau_in_words,
    top_k_overlap,
    trajectory,
    weighted_tau,
)
from nascommon.statistics.variance import attainable_tau
from tests.oracles import rules

FIGURE1 = {"DARTS_2nd": (2 / 15, 0.134840, 0.13), "EC_DARTS": (7 / 15, 7 / 15, 0.47)}
NAN, INF = math.nan, math.inf
FEW_VALUES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=9)


def figure1(method: str) -> tuple[Floats, Floats]:
    retrain_N, search_N = np.array(rules.oracle("kendall_figure1")[method]["points"]).T
    return search_N, retrain_N


def slow_taus(x: Floats, y: Floats) -> tuple[float, float]:
    """Count the pairs one by one; tau-b is NaN where a score is constant."""
    agree = disagree = untied_x = untied_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        product = (x[i] - x[j]) * (y[i] - y[j])
        agree, disagree = agree + (product > 0), disagree + (product < 0)
        untied_x, untied_y = untied_x + (x[i] != x[j]), untied_y + (y[i] != y[j])
    pairs = len(x) * (len(x) - 1) / 2
    root = math.sqrt(untied_x * untied_y)
    return (agree - disagree) / pairs, (agree - disagree) / root if root else NAN


def correlated(n: int, noise: float, seed: int = 0) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n)
    return x, x + noise * draw.normal(size=n)


@pytest.mark.parametrize("method", FIGURE1)
def test_the_published_points_give_the_published_tau(method: str) -> None:
    result = rank_correlation(*figure1(method), resamples=200, permutations=200)
    tau_a, tau_b, rounded = FIGURE1[method]
    assert result.n == 10
    assert result.tau_a == pytest.approx(tau_a, abs=1e-12)
    assert result.tau_b == pytest.approx(tau_b, abs=1e-6)
    assert round(result.tau_a or 0, 2) == round(result.tau_b or 0, 2) == rounded


@pytest.mark.parametrize("method", FIGURE1)
def test_taus_are_those_of_figure_1(method: str) -> None:
    oracle = rules.oracle("kendall_figure1")[method]
    search, retrain = figure1(method)
    tau_a, tau_b = tau_a_and_b(search, retrain)
    assert (tau_a, tau_b) == pytest.approx((oracle["tau_a"], oracle["tau_b"]), abs=1e-12)
    assert round(tau_a, 2) == oracle["published"]
    # The oracle's is a normal approximation: with ten architectures tau moves in steps, and each is worth this much.
    p_value, _ = permutation_p_value(search, retrain, 10_000, seed=0)
    assert p_value == pytest.approx(oracle["p_value"], abs=0.08)


@given(FEW_VALUES)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_taus_equal_pair_counting_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=np.float64).T
    if np.ptp(x) and np.ptp(y):
        assert tau_a_and_b(x, y) == pytest.approx(slow_taus(x, y), abs=1e-12)


@given(FEW_VALUES)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_taus_are_symmetric_and_blind_to_monotone_maps(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=np.float64).T
    if np.ptp(x) and np.ptp(y):
        taus = tau_a_and_b(x, y)
        assert tau_a_and_b(y, x) == taus
        assert tau_a_and_b(np.exp(x), 3 * y - 7) == taus
        assert tau_a_and_b(x, -y) == (-taus[0], -taus[1])


@pytest.mark.parametrize("y", [(3, 1, 2, 5, 4), (1, 2, 3, 4, 5), (1, 1, 2, 3, 3)])
def test_exact_p_value_equals_brute_force(y: tuple[int, ...]) -> None:
    x, observed = np.array([1.0, 2.0, 2.0, 4.0, 5.0]), np.array(y, dtype=np.float64)
    tau = abs(slow_taus(x, observed)[1])
    orders = [slow_taus(x, np.array(order))[1] for order in itertools.permutations(observed)]
    expected = sum(abs(other) >= tau - 1e-12 for other in orders) / 120
    p_value, method = permutation_p_value(x, observed, permutations=7, seed=1)
    assert p_value == pytest.approx(expected)
    assert method == "exact"


def test_exact_p_value_of_identical_orders_is_two_in_n_factorial() -> None:
    x = np.arange(6.0)
    assert permutation_p_value(x, x, 10, 0)[0] == pytest.approx(2 / math.factorial(6))


@pytest.mark.parametrize("noise", [0.5, 1.5, 4.0])
def test_monte_carlo_p_value_is_near_the_exact_one(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(7, noise)
    exact, _ = permutation_p_value(x, y, 0, 0)
    monkeypatch.setattr("nascommon.statistics.ranking.EXACT_UP_TO", 0)
    drawn, method = permutation_p_value(x, y, 20_000, 0)
    assert method == "monte_carlo"
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_monte_carlo_p_value_is_never_zero() -> None:
    x = np.arange(40.0)
    assert permutation_p_value(x, x, 99, 0) == (0.01, "monte_carlo")


def test_chunks_do_not_change_how_many_orders_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(12, 2.0)
    whole, _ = permutation_p_value(x, y, 1000, 3)
    monkeypatch.setattr("nascommon.statistics.ranking.CHUNK", 144 * 70)
    parts, _ = permutation_p_value(x, y, 1000, 3)
    assert parts == whole


def test_many_architectures_take_the_normal_approximation_near_the_drawn_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(NORMAL_FROM, 12.0)
    p_value, method = permutation_p_value(x, y, 0, 0)
    monkeypatch.setattr("nascommon.statistics.ranking.NORMAL_FROM", NORMAL_FROM + 1)
    assert method == "normal"
    assert p_value == pytest.approx(permutation_p_value(x, y, 2000, 0)[0], abs=0.05)


def test_bootstrap_interval_equals_a_slow_twin_on_the_same_resamples() -> None:
    x, y = (np.round(scores, 1) for scores in correlated(8, 1.0))
    times = np.random.default_rng((5, 1)).multinomial(8, np.full(8, 1 / 8), 150)
    taus = [slow_taus(np.repeat(x, drawn), np.repeat(y, drawn))[1] for drawn in times]
    interval, degenerate = bootstrap_interval(x, y, 150, 0.9, seed=5)
    assert interval == pytest.approx(np.nanquantile(taus, [0.05, 0.95]), abs=1e-12)
    assert degenerate == np.isnan(taus).sum()


def test_resamples_with_a_constant_score_are_counted_not_used() -> None:
    x, y = np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.array([0.0, 2.0, 3.0, 4.0, 1.0])
    interval, degenerate = bootstrap_interval(x, y, 2000, 0.95, 0)
    share = 0.8**5 + 0.2**5  # constant: the last architecture in none or in all of the draws
    assert degenerate == pytest.approx(2000 * share, abs=4 * math.sqrt(2000 * share * (1 - share)))
    assert interval is not None


def test_a_single_degenerate_resample_leaves_no_interval() -> None:
    x = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    seed = next(seed for seed in range(50) if bootstrap_interval(x, x, 1, 0.95, seed)[1] == 1)
    assert bootstrap_interval(x, x, 1, 0.95, seed) == (None, 1)


def test_a_handful_of_architectures_is_too_few_for_an_interval_and_said_to_be() -> None:
    x, y = correlated(FEWEST_FOR_INTERVAL, 2.0)
    assert rank_correlation(x, y).interval is not None
    few = rank_correlation(x[1:], y[1:])
    assert (few.n, few.interval) == (4, None)
    assert few.in_words() == f"{few.tau_b:.2f} (no interval: 4 architectures are too few, 5 are needed)"


@pytest.mark.parametrize("sign", [1, -1])
def test_architectures_in_one_order_give_no_interval_without_width(sign: int) -> None:
    result = rank_correlation(np.arange(10.0), sign * np.arange(10.0))
    assert result.interval is None
    assert result.in_words() == f"{sign:.2f} (no interval: all resamples agree)"


def test_a_tau_is_written_with_its_interval_or_as_undefined() -> None:
    assert tau_in_words(6, 0.2, -1.0, 0.875) == "0.20 (95 % interval -1.00 to 0.88)"
    assert (
        rank_correlation([1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 6, 5], confidence=0.9).in_words().startswith("0.73 (90 % in")
    )
    assert tau_in_words(3, None, None, None) == "undefined, since one of the two is the same for all 3 architectures"


def test_more_confidence_gives_a_wider_interval_around_tau() -> None:
    x, y = correlated(30, 1.0)
    narrow, wide = (rank_correlation(x, y, confidence=c, permutations=50).interval for c in (0.5, 0.99))
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < tau_a_and_b(x, y)[1] < narrow[1] < wide[1]


@pytest.mark.parametrize(("sign", "label"), [(1, "positive"), (-1, "negative")])
def test_identical_and_reversed_orders_are_labelled_so(sign: int, label: str) -> None:
    x = np.arange(10.0)
    result = rank_correlation(x, sign * x)
    assert (result.tau_a, result.tau_b, result.label) == (sign, sign, label)
    assert result.tau_c == pytest.approx(sign)
    assert result.weighted_tau == pytest.approx(sign)


def test_weighted_tau_punishes_a_swap_among_the_best_more() -> None:
    x = np.arange(10.0)
    best, worst = x.copy(), x.copy()
    best[[8, 9]], worst[[0, 1]] = best[[9, 8]], worst[[1, 0]]
    swapped = [rank_correlation(x, y, resamples=10, permutations=10) for y in (best, worst)]
    assert swapped[0].tau_b == swapped[1].tau_b
    assert (swapped[0].weighted_tau or 0) < (swapped[1].weighted_tau or 0)


def test_weighted_tau_is_scipys_where_nothing_is_tied() -> None:
    for seed in range(5):
        x, y = correlated(20, 1.0, seed)
        assert weighted_tau(x, y) == pytest.approx(stats.weightedtau(x, y, rank=True).statistic, abs=1e-12)


def test_weighted_tau_weighs_ties_by_the_mean_over_their_orders() -> None:
    x, y = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([5.0, 3.0, 4.0, 1.0, 2.0])
    orders = [(0, *order, 4) for order in itertools.permutations((1, 2, 3))]
    by_x = np.mean([[1 / (order.index(i) + 1) for i in range(5)] for order in orders], axis=0)
    by_y = 1 / np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    taus = []
    for w in (by_x, by_y):
        sums = np.zeros(3)
        for i, j in itertools.combinations(range(5), 2):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            sums += (w[i] + w[j]) * np.array([a * b, abs(a), abs(b)])
        taus.append(sums[0] / math.sqrt(sums[1] * sums[2]))
    assert weighted_tau(x, y) == pytest.approx(np.mean(taus), abs=1e-12)


def test_weighted_tau_of_independent_scores_with_ties_is_zero() -> None:
    # Every level of one as often with every level of the other: exactly independent; scipy says 0.24.
    assert weighted_tau(np.repeat([0.0, 1.0, 2.0], 9), np.tile([0.0, 1.0, 2.0], 9)) == pytest.approx(0, abs=1e-12)
    draw = np.random.default_rng(0)
    taus = [weighted_tau(*draw.integers(3, size=(2, 100)).astype(float)) for _ in range(400)]
    assert abs(np.mean(taus)) < 4 * np.std(taus) / math.sqrt(len(taus)) < 0.03


@given(FEW_VALUES)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_weighted_tau_is_one_for_equal_scores_and_changes_sign_with_one_of_them(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=np.float64).T
    if np.ptp(x) and np.ptp(y):
        assert weighted_tau(x, x) == pytest.approx(1)
        assert weighted_tau(x, -x) == pytest.approx(-1)
        assert weighted_tau(x, y) == pytest.approx(weighted_tau(y, x))
        assert abs(weighted_tau(x, y)) <= 1 + 1e-12


# (noise of a retraining, tau-b of a perfect score and a retraining, of two retrainings, predicted from the latter)
NOISE = [(0.5, 0.708, 0.598, 0.710), (1.0, 0.500, 0.339, 0.505), (1.5, 0.373, 0.194, 0.369)]


@pytest.mark.parametrize(("noise", "perfect", "retest", "predicted"), NOISE)
def test_a_perfect_score_beats_retest_agreement_and_reaches_what_that_predicts(
    noise: float, perfect: float, retest: float, predicted: float
) -> None:
    draw = np.random.default_rng(1)
    taus = []
    for _ in range(3000):
        quality = draw.normal(size=10)
        first, second = quality + noise * draw.normal(size=(2, 10))
        taus.append((tau_a_and_b(quality, first)[1], tau_a_and_b(first, second)[1]))
    found_perfect, found_retest = np.mean(taus, axis=0)
    error = 5 * 0.25 / math.sqrt(3000)
    assert (found_perfect, found_retest) == (pytest.approx(perfect, abs=error), pytest.approx(retest, abs=error))
    assert attainable_tau(retest) == pytest.approx(predicted, abs=1e-3)
    assert attainable_tau(float(found_retest)) == pytest.approx(found_perfect, abs=2 * error)
    assert np.mean([one > other for one, other in taus]) > 0.6


@pytest.mark.parametrize(("trainings", "perfect"), [(1, 0.505), (3, 0.667)])
def test_a_mean_of_several_retrainings_is_a_surer_truth(trainings: int, perfect: float) -> None:
    draw = np.random.default_rng(2)
    quality = draw.normal(size=2000)
    measured = quality + draw.normal(size=(trainings, 2000))
    assert tau_a_and_b(quality, measured.mean(axis=0))[1] == pytest.approx(perfect, abs=0.02)
    assert attainable_tau(0.339, trainings) == pytest.approx(perfect, abs=0.005)


def test_too_few_architectures_are_never_called_positive() -> None:
    assert rank_correlation([1, 2, 3], [1, 2, 3]).label == "none"


def test_noise_is_labelled_none() -> None:
    draw = np.random.default_rng(0)
    labels = [rank_correlation(*draw.normal(size=(2, 6)), resamples=20).label for _ in range(40)]
    assert labels.count("none") >= 34


def test_top_k_overlap_counts_common_members() -> None:
    x, y = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.array([4.0, 5.0, 1.0, 2.0, 3.0])
    assert [top_k_overlap(x, y, k) for k in (1, 2, 3)] == pytest.approx([0.0, 1.0, 2 / 3])


def test_top_k_overlap_shares_ties_at_the_border() -> None:
    tied, clear = np.array([9.0, 5.0, 5.0, 1.0]), np.array([4.0, 3.0, 2.0, 1.0])
    assert top_k_overlap(tied, clear, 2) == pytest.approx((1 + 0.5) / 2)
    assert top_k_overlap(np.zeros(4), clear, 1) == pytest.approx(0.25)


def test_only_a_k_below_n_is_reported() -> None:
    assert set(rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], top=(0, 1, 3, 4, 9)).top_k_overlap) == {1, 3}


@pytest.mark.parametrize("constant_first", [True, False])
def test_a_constant_score_leaves_everything_undefined(constant_first: bool) -> None:
    scores = [[0.5] * 4, [1.0, 2.0, 3.0, 4.0]]
    result = rank_correlation(*(scores if constant_first else scores[::-1]))
    assert (result.tau_a, result.tau_b, result.tau_c, result.weighted_tau) == (None,) * 4
    assert (result.p_value, result.interval) == (None, None)
    assert (result.p_value_method, result.label) == ("undefined", "undefined")


@pytest.mark.parametrize("retrain", [[1, 1, 1, 1], [1, 3, 2, 4]])
def test_as_dict_is_json_without_nan(retrain: list[int]) -> None:
    result = rank_correlation([1, 2, 3, 4], retrain)
    tree = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert tree == result.as_dict()
    assert set(tree["top_k_overlap"]) == {"1", "3"}


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2], "3 to 5000 architectures .* got 2"),
        ([], [], "got 0"),
        (range(MOST + 1), range(MOST + 1), "got 5001"),
        ([1, 2, 3], [1, 2], "equal length"),
        ([[1, 2, 3]], [[1, 2, 3]], "equal length"),
        ([1, NAN, 3], [1, 2, 3], "first score number 2 is nan"),
        ([1, 2, 3], [1, 2, -INF], "second score number 3 is -inf"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rank_correlation(x, y)


def test_the_same_seed_gives_the_same_result_and_another_one_another() -> None:
    x, y = correlated(12, 1.0)
    one, same, other = (rank_correlation(x, y, seed=seed, permutations=500) for seed in (1, 1, 2))
    assert one == same
    assert (one.p_value, one.interval) != (other.p_value, other.interval)
    assert one.tau_b == other.tau_b


def test_fifty_architectures_take_less_than_a_second_of_work() -> None:
    x, y = correlated(50, 1.0)
    start = time.process_time()
    assert rank_correlation(x, y).p_value_method == "monte_carlo"
    assert time.process_time() - start < 1


def test_trajectory_has_a_row_per_epoch_equal_to_the_single_comparison() -> None:
    retrain = [1, 2, 3, 4, 5]
    table = trajectory([[1, 2, 3, 5, 4], [5, 4, 3, 2, 1]], retrain, epochs=[3, 7])
    assert list(table.columns) == ["epoch", "tau_a", "tau_b", "p_value", "n"]
    assert table["epoch"].tolist() == [3, 7]
    assert table["n"].tolist() == [5, 5]
    assert table["tau_b"].tolist() == pytest.approx([0.8, -1.0])
    assert table["p_value"][0] == rank_correlation([1, 2, 3, 5, 4], retrain).p_value


def test_trajectory_counts_epochs_from_zero_and_leaves_a_constant_epoch_empty() -> None:
    table = trajectory([[0, 0, 0], [1, 2, 3]], [1, 2, 3])
    assert table["epoch"].tolist() == [0, 1]
    assert table.loc[0, ["tau_a", "tau_b", "p_value"]].isna().all()
    assert table["tau_a"][1] == 1


@pytest.mark.parametrize("scores", [[[1, 2, 3, 4]], [1, 2, 3]])
def test_trajectory_refuses_a_table_of_another_shape(scores: ArrayLike) -> None:
    with pytest.raises(UserError, match=r"one column per retrained architecture .* for 3 architectures"):
        trajectory(scores, [1, 2, 3])
