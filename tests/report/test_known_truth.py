"""What a table knows is said in plain words, with the papers' values beside it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nascommon.report.known_truth import truth_metrics, truth_rows, truth_section, truth_sentences, truth_verdict
from nascommon.report.published import published_results
from nascommon.report.table import comparison_table
from nascommon.report.words import depth_sentences
from nascommon.space.nasbench201_text import from_digits
from nascommon.truth.judgement import judge, random_search
from nascommon.truth.table import PROTOCOL, load_table

UNKNOWN = {"unknown": "the table of nasbench201 knows CIFAR-10; this search sees digits"}


def truth_of(digits: str, search_seconds: float = 600.0, training_seconds: float = 30_000.0) -> dict[str, Any]:
    """What evaluate knows of a cell."""
    seconds = {"search_seconds": search_seconds, "training_seconds": training_seconds}
    drawn = random_search(load_table(), "cifar10", search_seconds / training_seconds)
    judged = judge(load_table(), from_digits(digits), "cifar10")
    return {"protocol": PROTOCOL, **judged, "random_search": {**seconds, **drawn}}


ALL_SKIP, BEST = truth_of("111111"), truth_of("333132")


def text(truth: dict[str, Any]) -> str:
    return "\n".join(truth_section(truth, "darts in space nasbench201 on cifar10, seed 0"))


def test_the_verdict_is_rank_and_percentile_and_never_a_p_value() -> None:
    assert truth_verdict(ALL_SKIP) == (
        "rank 15,230 of 15,625 on CIFAR-10: better than 2.5 % of all cells, 40.08 points below the best; not better "
        "than the cell that a count of parameters picks"
    )
    assert (
        truth_verdict(BEST)
        == "rank 1 of 15,625 on CIFAR-10: better than 99.9 % of all cells, 0.00 points below the best"
    )


def test_a_search_that_does_not_beat_a_count_has_found_nothing() -> None:
    said = (
        "The found cell is not better than what a count picks: a search that does not beat a count has found nothing."
    )
    assert said in text(ALL_SKIP)
    assert said in text(truth_of("333333")), "the very cell that the count picks"
    assert said not in text(BEST)
    assert "The found cell is better than what either count picks." in text(BEST)
    assert "Spearman's rho of parameters and accuracy is 0.751" in text(BEST)


def test_the_section_has_all_three_sets_and_the_published_values_below_ours() -> None:
    lines = text(ALL_SKIP).splitlines()
    accuracy = next(line for line in lines if line.startswith("| test accuracy"))
    assert [cell.strip() for cell in accuracy.split("|")[2:-1]] == ["54.30 %", "15.61 %", "16.32 %"]
    ours = next(index for index, line in enumerate(lines) if line.startswith("| ours"))
    paper = next(index for index, line in enumerate(lines) if "DARTS-V1 (1st order)" in line)
    assert ours < paper
    assert "54.30 ± 0.00" in lines[paper]
    assert PROTOCOL in text(ALL_SKIP)
    assert "`|skip_connect~0|+|skip_connect~0|skip_connect~1|+" in text(ALL_SKIP)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (600.0, "as much as 0.02 trainings. Random search for that cost finds one random cell: 87.04 % on average."),
        (
            75_000.0,
            "2.5 trainings. Random search for that cost finds the best of 2 random cells, by test accuracy: 9",
        ),
        (
            3e6,
            "100 trainings. Random search for that cost finds the best of 100 random cells, by test accuracy: 93.",
        ),
    ],
)
def test_random_search_for_the_same_cost_stands_beside(seconds: float, said: str) -> None:
    assert said in text(truth_of("111111", seconds))


def test_cells_of_the_same_graph_show_how_much_of_a_difference_is_chance() -> None:
    assert "6,466 are different graphs; no other one is this one." in text(truth_of("334131"))
    assert "2 other cells are the same as this one and reached 89.93 % to 90.42 %." in text(truth_of("143334"))
    assert "1 other cell is the same as this one and reached 88.22 %." in text(truth_of("121112"))


def test_the_figures_have_names_for_the_searched_set_and_for_each() -> None:
    metrics = truth_metrics(ALL_SKIP)
    assert metrics["truth_accuracy"] == metrics["truth_accuracy_cifar10"] == pytest.approx(0.542967)
    assert metrics["truth_rank"] == 15_230
    assert metrics["truth_percentile"] == pytest.approx(2.53, abs=0.01)
    assert metrics["truth_regret_imagenet16_120"] == pytest.approx(0.473111 - 0.163222)
    assert metrics["truth_random_search_accuracy"] == pytest.approx(0.8704, abs=5e-5)
    assert len(metrics) == 4 + 3 * 4 + 1


def test_the_table_of_results_has_a_row_for_each_set_and_the_size_that_was_counted() -> None:
    table = comparison_table(truth_rows(ALL_SKIP, "darts, searched", "3m05s"), published_results().head(0))
    assert list(table["data set"]) == ["CIFAR-10", "CIFAR-100", "ImageNet16-120"]
    assert table["test error %"].tolist() == pytest.approx([45.7033, 84.3933, 83.6778])
    assert table["params M"].tolist() == pytest.approx([0.073306, math.nan, math.nan], nan_ok=True)
    assert truth_rows(UNKNOWN, "", "") == truth_rows(None, "", "") == []


def test_the_first_sentence_says_the_truth() -> None:
    (first,) = truth_sentences(ALL_SKIP)
    assert first.startswith("Known truth: 54.30 % test accuracy, rank 15,230 of 15,625")


def test_where_the_table_has_one_depth_the_report_says_that_there_is_no_depth_gap() -> None:
    assert depth_sentences({"n": 3}, ALL_SKIP) == [
        "Depth gap: none can be measured; the table holds networks of one depth."
    ]
    assert depth_sentences({"n": 3}, UNKNOWN) == depth_sentences({"n": 3}, None) == []
    (measured,) = depth_sentences({"n": 3, "depth_tau_b": 0.5}, ALL_SKIP)
    assert measured.startswith("Search depth against retraining depth: Kendall tau-b 0.50")


def test_where_nothing_is_known_the_reason_is_said_and_nothing_else() -> None:
    assert truth_sentences(UNKNOWN) == [
        "Known truth: none for this search; the table of nasbench201 knows CIFAR-10; this search sees digits."
    ]
    assert truth_section(UNKNOWN, "darts") == truth_section(None, "darts") == truth_sentences(None) == []
    assert truth_metrics(UNKNOWN) == truth_metrics(None) == {}
    assert truth_verdict(UNKNOWN) == truth_verdict(None) == ""
