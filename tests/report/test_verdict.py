"""One definition of the headline figures, and plain words for every kind of ending."""

from __future__ import annotations

import pytest

from nascommon.report.verdict import Outcome, headline, outcome, sentences
from nascommon.report.words import write_report
from tests.report.results import KENDALL, results
from tests.report.test_known_truth import ALL_SKIP, BEST, UNKNOWN, truth_of

MANY = [90 + 0.05 * i for i in range(100)]
"""Percent, from 90 to 94.95."""


def test_the_five_figures_are_those_of_the_files() -> None:
    figures = headline(results(random=MANY, accuracies=(0.93, 0.94))).figures()
    assert figures == {"accuracy": 0.935, "gap": 0.09, "percentile": 70.5, "tau": 0.1, "seconds": 92.0}


def test_a_table_answers_for_accuracy_and_percentile_where_nothing_was_retrained() -> None:
    metrics = {"test_accuracy": None, "truth_accuracy": 0.5430, "truth_percentile": 2.5, "linear_error_percent": None}
    figures = headline(results(accuracies=(), metrics=metrics, truth=ALL_SKIP))
    assert (figures.accuracy, figures.percentile) == (0.5430, 2.5)


def test_without_a_trained_supernet_there_is_no_gap() -> None:
    run = results()
    run["stages"]["search"]["epochs"] = 0
    assert headline(run).gap is None
    assert sentences(run)["gap"] == "No gap: the search trained no supernet."


@pytest.mark.parametrize(
    ("random", "accuracy", "expected", "said"),
    [
        (MANY, 0.951, "better", "Better than random: ahead of 100 % of 100 random architectures"),
        (MANY, 0.93, "unclear", "Not shown to be better than random: ahead of 60.5 %"),
        (MANY, 0.89, "worse", "Worse than random: ahead of 0 % of 100"),
        (MANY[:3], 0.95, "unclear", "3 are too few to show it"),
        (None, 0.95, "none", "Not compared with random architectures: set baseline.architectures."),
    ],
)
def test_a_retrained_architecture_is_judged_by_random_ones(
    random: list[float] | None, accuracy: float, expected: Outcome, said: str
) -> None:
    run = results(random=random, accuracies=(accuracy,))
    assert outcome(run) == expected
    assert said in sentences(run)["verdict"]


@pytest.mark.parametrize(
    ("truth", "expected", "said"),
    [
        (ALL_SKIP, "worse", "Rank 15,230 of 15,625 on CIFAR-10: better than 2.5 % of all cells"),
        (BEST, "better", "Rank 1 of 15,625"),
        (truth_of("333333"), "unclear", "not better than the cell that a count of parameters picks."),
    ],
)
def test_what_a_table_knows_is_the_verdict(truth: dict[str, object], expected: Outcome, said: str) -> None:
    run = results(accuracies=(), truth=truth)
    assert outcome(run) == expected
    assert said in sentences(run)["verdict"]
    assert "is the table's" in sentences(run)["accuracy"]


def test_what_was_neither_retrained_nor_known_has_no_verdict_and_says_what_to_set() -> None:
    run = results(accuracies=(), truth=UNKNOWN)
    assert outcome(run) == "none"
    assert sentences(run)["verdict"] == (
        "No verdict: nothing was retrained; the table of nasbench201 knows CIFAR-10; this search sees digits. "
        "Set retrain.skip: false."
    )
    assert sentences(results(no_bank="there is none of cats"))["verdict"].startswith(
        "Not compared with random architectures (there is none of cats)"
    )


def test_what_a_linear_classifier_reaches_stands_beside_the_accuracy() -> None:
    run = results(accuracies=(0.93, 0.94))
    told = "Test accuracy 93.50 % (mean of 2 trainings: 93.00 %, 94.00 %; last epoch, 1,348 test images read once)."
    assert sentences(run)["accuracy"] == f"{told} A linear classifier on the raw pixels reaches 95.00 %."
    untrained = sentences(results(accuracies=(), truth=ALL_SKIP))["accuracy"]
    assert untrained.endswith("is the table's. A linear classifier on the raw pixels reaches 95.00 %.")
    run["metrics"]["linear_error_percent"] = None
    assert sentences(run)["accuracy"] == told


def test_the_gap_is_told_with_its_interval_and_whose_it_is() -> None:
    assert sentences(results())["gap"].startswith(
        "Gap +9.0 points (95 % interval +5.0 to +13.0): cut to its cells, the supernet goes from 89.00 % to 80.00 %"
    )
    assert "of the search's own cells, not of the given ones" in sentences(results(given="PDARTS"))["gap"]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.05, 0.2, "Search scores order 200 architectures by their known accuracies, better than chance does: "),
        (-0.02, 0.2, "Search scores are not shown to order 200 architectures by their known accuracies better than "),
        (-0.3, -0.1, "Search scores order 200 architectures against their known accuracies, worse than chance does: "),
        (None, None, "Whether search scores order 200 architectures by their known accuracies cannot be told: "),
    ],
)
def test_the_ranking_is_told_by_its_interval(low: float | None, high: float | None, said: str) -> None:
    run = results()
    run["stages"]["kendall_tau"] = {**KENDALL, "tau_b_low": low, "tau_b_high": high}
    assert sentences(run)["truth"].startswith(said)
    assert "Kendall tau-b 0.10" in sentences(run)["truth"]


def test_a_ranking_that_there_is_not_is_told_once_with_its_reason() -> None:
    run = results(unranked="the 4 snapshots of the search hold only 2 different genotypes")
    run["stages"]["kendall_tau"] = {"n": 2, "tau_b": None}
    told = "No ranking (n = 2): the 4 snapshots of the search hold only 2 different genotypes."
    assert sentences(run)["truth"] == told
    assert headline(run).tau is None
    report = write_report("a run", run, "", "")
    assert report.count("2 different genotypes") == 1
    assert "Search score against" not in report


def test_the_report_begins_with_the_verdict() -> None:
    run = results(random=MANY)
    first, *others = [line for line in write_report("a run", run, "", "").splitlines() if line.startswith("- ")]
    assert first == f"- {sentences(run)['verdict']}"
    assert [f"- {line}" for line in sentences(run).values()] == [first, *others[:4]]


def test_published_figures_stand_beside_ours_only_where_the_protocol_is_theirs() -> None:
    assert "Published figures are left out" in write_report("a run", results(), "", "")
    assert "published figures of the same protocol" in write_report("a run", results(published_protocol=True), "", "")
