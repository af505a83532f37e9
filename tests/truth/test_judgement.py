from __future__ import annotations

import itertools

import numpy as np
import pytest

from nascommon.settings import UserError
from nascommon.space.nasbench201_text import from_digits
from nascommon.space.published import PUBLISHED
from nascommon.truth.judgement import expected_of_best, judge, random_search, standing
from nascommon.truth.table import load_table

ACCURACY = np.array([0.5, 0.9, 0.7, 0.7, 0.1])


@pytest.mark.parametrize(
    ("row", "rank", "percentile", "regret"), [(1, 1, 80, 0), (2, 2, 40, 0.2), (3, 2, 40, 0.2), (4, 5, 0, 0.8)]
)
def test_a_rank_counts_the_better_and_a_percentile_the_worse(
    row: int, rank: int, percentile: float, regret: float
) -> None:
    place = standing(ACCURACY, row)
    assert (place.accuracy, place.rank, place.total) == (ACCURACY[row], rank, 5)
    assert (place.percentile, place.regret) == pytest.approx((percentile, regret))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_draws(k: int) -> None:
    validation = np.array([0.3, 0.2, 0.6, 0.8, 0.1])
    draws = [list(draw) for draw in itertools.combinations(range(5), k)]
    best = np.mean([ACCURACY[draw].max() for draw in draws])
    chosen = np.mean([ACCURACY[max(draw, key=lambda row: validation[row])] for draw in draws])
    assert expected_of_best(ACCURACY, ACCURACY, k) == pytest.approx(best)
    assert expected_of_best(validation, ACCURACY, k) == pytest.approx(chosen)


def test_more_draws_than_architectures_find_the_best() -> None:
    assert expected_of_best(ACCURACY, ACCURACY, 100) == pytest.approx(0.9)


def test_the_all_skip_cell_is_judged_as_published() -> None:
    found = judge(load_table(), from_digits("111111"), "cifar10")
    assert (found["row"], found["params"], found["macs"]) == (1835, 73_306, 7_783_040)
    place = found["sets"]["cifar10"]
    assert place["accuracy"] == pytest.approx(0.542967)
    assert place["rank"] == 15_625 - round(0.01 * place["percentile"] * 15_625)  # no other has this accuracy
    assert place["percentile"] == pytest.approx(2.53, abs=0.005)
    assert place["regret"] == pytest.approx(0.943733 - 0.542967)
    assert found["sets"]["cifar100"]["best"] == pytest.approx(0.735133)


def test_both_counts_pick_the_cell_of_nothing_but_3x3_convolutions() -> None:
    counts = judge(load_table(), from_digits("111111"), "cifar10")["counts"]
    assert [count["what"] for count in counts] == ["parameters", "multiply-adds"]
    for count in counts:
        assert count["cell"].count("nor_conv_3x3") == 6
        assert (count["accuracy"], count["rank"]) == (pytest.approx(0.9376), 167)
        assert count["spearman"] == pytest.approx(0.751, abs=5e-4)


def test_twins_are_the_cells_of_the_same_graph_and_were_trained_on_their_own() -> None:
    twins = judge(load_table(), from_digits("143334"), "cifar10")["twins"]
    assert twins == pytest.approx([0.904167, 0.899333])  # of 134334 and 341314


def test_a_cell_of_another_space_is_refused() -> None:
    with pytest.raises(UserError, match="no cell of nasbench201"):
        judge(load_table(), PUBLISHED["DARTS_V2"], "cifar10")


@pytest.mark.parametrize(("trainings", "draws"), [(0.0, 1), (0.04, 1), (2.6, 3), (1e9, 15_625)])
def test_random_search_draws_what_the_cost_pays_for_and_one_at_least(trainings: float, draws: int) -> None:
    found = random_search(load_table(), "cifar10", trainings)
    assert (found["trainings"], found["draws"]) == (trainings, draws)
    assert {"1", "10", "100", str(draws)} == set(found["expected"])


def test_random_search_finds_the_mean_by_one_cell_and_the_best_by_all() -> None:
    expected = random_search(load_table(), "cifar10", 15_625)["expected"]
    assert [expected["1"]["best"], expected["1"]["chosen"]] == pytest.approx([0.8704, 0.8704], abs=5e-5)
    assert expected["15625"]["best"] == pytest.approx(0.943733)
    # A draw of its own: the mean over many draws of ten is what the formula says.
    accuracy, generator = load_table().test["cifar10"], np.random.default_rng(0)
    means = [accuracy[generator.choice(15_625, 10, replace=False)].max() for _ in range(4000)]
    assert np.mean(means) == pytest.approx(expected["10"]["best"], abs=4 * np.std(means) / 4000**0.5)
    assert expected["100"]["best"] > expected["100"]["chosen"] > expected["10"]["chosen"]
