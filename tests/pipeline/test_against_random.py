"""What is found is compared with random architectures, as many trainings of each, and the noise is told."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from nascommon.pipeline.against_random import RandomOnes, judge_by
from nascommon.pipeline.tested import Hits, Measured
from nascommon.report.words import noise_sentences
from nascommon.truth.bank import read_bank
from nascommon.truth.known import Known
from tests.pipeline.tiny_bank import NAME, with_bank
from tests.stages.project import Project
from tests.truth.small import genotype


def ours(*correct: int) -> Measured:
    return Measured(genotype(0), tuple(Hits(hits, 100, 100) for hits in correct), 5000)


def ones(*groups: tuple[float, ...]) -> RandomOnes:
    return RandomOnes("a bank", list(groups), None)


def test_means_of_as_many_trainings_are_compared_where_enough_architectures_have_them() -> None:
    many = ones(*[(0.5, 0.7, 0.6)] * 38, *[(0.9,)] * 10)
    assert judge_by(ours(60, 80, 100), many).trainings == 1
    judged = judge_by(ours(60, 80, 100), ones(*[(0.5, 0.7, 0.6)] * 39, *[(0.9,)] * 10))
    assert (judged.trainings, judged.comparison.n) == (3, 39)
    assert judged.comparison.accuracy_percent == pytest.approx(80)
    assert judged.comparison.null_mean == pytest.approx(60)
    assert "means of 3 trainings each" in judged.comparison.source
    two = judge_by(ours(60, 80), ones(*[(0.5, 0.7, 0.6)] * 39))
    assert two.trainings == 2
    assert two.comparison.null_mean == pytest.approx(60)
    assert two.comparison.accuracy_percent == pytest.approx(70)
    few = judge_by(ours(60, 80), ones((0.5, 0.7), (0.4, 0.6)))  # all there are have them
    assert (few.trainings, few.comparison.n) == (2, 2)


def test_a_winner_has_a_percentile_with_its_interval_and_a_chance_down_to_one_in_n() -> None:
    comparison = judge_by(ours(99), ones(*[(0.5 + index / 1000,) for index in range(300)])).comparison
    assert comparison.p_as_good == pytest.approx(1 / 301)
    assert comparison.percentile == 100
    assert comparison.percentile_low == pytest.approx(98.7, abs=0.1)
    assert comparison.percentile_high == 100
    tied = judge_by(ours(50), ones((0.5,), (0.5,), (0.4,), (0.6,))).comparison
    assert tied.p_as_good == pytest.approx(4 / 5)
    assert tied.percentile == 50
    assert tied.percentile_low < 25
    assert tied.percentile_high > 75


def test_as_many_hits_are_a_tie_however_they_fall_on_the_trainings() -> None:
    """719 pictures: means of three trainings with 2,112 hits together differ in the last digit of a float."""
    total = 719
    same = [
        (low, middle, 2112 - low - middle)
        for low in range(690, 704)
        for middle in range(704, 719)
        if low + middle >= 1393
    ]
    groups = [tuple(hits / total for hits in each) for each in same]
    winner = Measured(genotype(0), tuple(Hits(704, 719, total) for _ in range(3)))
    comparison = judge_by(winner, ones(*groups)).comparison
    assert (comparison.percentile, comparison.p_as_good) == (50, 1)
    assert {Known(group).mean for group in groups} == {winner.accuracy}


@pytest.mark.slow
def test_the_report_compares_with_a_bank_and_says_how_much_of_it_is_noise(searched: Project) -> None:
    draw = np.random.default_rng(0)
    groups = [
        tuple((draw.normal(0.2, 0.05) + draw.normal(0, 0.02, 2)).clip(0, 1).tolist()) for _ in range(45)
    ]  # fmt: skip
    with_bank(searched, groups).change(retrain__seeds=2, baseline__architectures=0)
    searched.stages("retrain", "transfer", "kendall_tau", "baseline", "evaluate")
    results = searched.json("data/evaluate/results.json")
    (comparison,) = results["comparisons"]
    assert (comparison["n"], comparison["trainings"]) == (45, 2)
    assert comparison["null_mean"] == pytest.approx(100 * fmean(map(fmean, groups)))
    assert len(results["accuracies"]) == 2
    assert results["metrics"]["test_accuracy"] == pytest.approx(fmean(results["accuracies"]))
    assert comparison["accuracy_percent"] == pytest.approx(100 * fmean(results["accuracies"]))
    assert results["metrics"]["variance_between_architectures"] == comparison["noise"]["of_mean"] > 0.8
    report = (searched.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "a bank of the same protocol, means of 2 trainings each, n = 45" in report
    assert "of the variance of what is compared, means of 2 trainings, lies between architectures" in report
    assert "mean of 2 trainings" in report
    assert "Search score against known accuracy" in report
    retrained = searched.json("data/metrics/retrain.json")
    assert retrained["trainings"] == 2
    assert retrained["train_loss"] == pytest.approx((retrained["train_loss_0"] + retrained["train_loss_1"]) / 2)
    assert retrained["train_loss_0"] != retrained["train_loss_1"]
    first = searched.json("data/retrain/network.json")["metrics"]
    assert first["train_loss"] == retrained["train_loss_0"]
    searched.change(retrain__seeds=1).stage("retrain")  # the first training is the same
    assert searched.json("data/metrics/retrain.json")["train_loss"] == first["train_loss"]
    assert not list((searched.folder / "data/retrain").glob("seed_*"))


@pytest.mark.parametrize(("sd", "words"), [(0.0, "No search can show anything here: 0."), (0.1, "lies between")])
def test_where_all_is_noise_the_report_says_that_no_search_can_show_anything(sd: float, words: str) -> None:
    draw = np.random.default_rng(3)
    groups = [tuple((draw.normal(0.5, sd) + draw.normal(0, 0.05, 2)).tolist()) for _ in range(45)]
    (sentence,) = noise_sentences(judge_by(ours(60, 80), ones(*groups)).as_dict())
    assert words in sentence
    assert noise_sentences(judge_by(ours(60), ones(*[(0.5,)] * 45)).as_dict()) == []


@pytest.mark.slow
def test_random_architectures_that_were_trained_are_added_to_the_bank_once(searched: Project) -> None:
    searched.change(baseline__bank=NAME, baseline__architectures=2, baseline__seeds=2)
    searched.stages("inventory", "retrain", "transfer", "kendall_tau", "baseline")
    assert searched.json("data/metrics/baseline.json")["architectures"] == 2
    assert "4 trainings of random architectures added to own.csv" in searched.stage("evaluate")
    bank = read_bank(searched.folder / NAME)
    assert [len(bank.known(one).accuracies) for one in bank.genotypes()] == [2, 2]  # type: ignore[union-attr]
    before = searched.json("data/bank.json")
    assert "0 trainings of random architectures added" in searched.stage("evaluate")
    searched.stage("inventory")
    assert searched.json("data/bank.json") != before  # so DVC ranks and compares with them from now on
    results = searched.json("data/evaluate/results.json")
    assert {comparison["n"] for comparison in results["comparisons"]} == {2}
    assert len(results["comparisons"]) == 2
    mean = fmean(bank.known(one).accuracies[0] for one in bank.genotypes())  # type: ignore[union-attr]
    assert results["metrics"]["random_mean_accuracy"] == pytest.approx(mean)
