"""A study ranks methods, tests them in pairs, and says what so few seeds cannot show."""

from __future__ import annotations

import pytest

from nascommon.report.study import StudyRun, study_table
from nascommon.report.study_words import findings, outcome
from tests.report.results import DISCRETIZE, KENDALL, results


def runs(**accuracies: list[float]) -> list[StudyRun]:
    """Return runs by method, seeds from 0 on; accuracies are shares."""
    return [
        StudyRun(method, seed, results(random=[90.0] * 40, accuracies=(accuracy,)))
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


SIX = runs(
    da2s=[0.95, 0.96, 0.95, 0.97, 0.96, 0.95], darts=[0.90, 0.93, 0.91, 0.92, 0.90, 0.94],
    random=[0.92, 0.92, 0.92, 0.92, 0.92, 0.92],
)  # fmt: skip


def test_the_table_is_ranked_and_its_figures_are_those_of_the_runs() -> None:
    table = study_table(SIX).set_index("method")
    assert list(table.index) == ["da2s", "random", "darts"]
    assert list(table["rank"]) == [1, 2, 3]
    best = table.loc["da2s"]
    assert best["accuracy %"] == pytest.approx(95.6667, abs=1e-4)
    assert best["± sd"] == pytest.approx(0.8165, abs=1e-4)
    # t(0.975, 5) = 2.5706 times 0.8165 / sqrt(6)
    assert best["95 % high"] - best["accuracy %"] == pytest.approx(0.8569, abs=1e-4)
    assert best["minus random"] == pytest.approx(3.6667, abs=1e-4)
    assert best["p"] == 2 / 2**6
    assert best["p (Holm)"] == 4 / 2**6
    assert best["seconds"] == 92.0
    assert best["gap, points"] == pytest.approx(9.0)
    assert table["p"].isna().to_dict() == {"da2s": False, "darts": False, "random": True}


def test_too_few_seeds_are_told_and_enough_show_a_difference() -> None:
    words = " ".join(findings(SIX))
    assert "No method is shown" in words
    assert "With 6 seeds p cannot fall below 0.0312" in words
    assert "7 seeds are needed" in words
    seventh = runs(da2s=[0.95] * 7, random=[0.92] * 7)
    shown = findings(seventh)
    assert shown[0] == "da2s is better than random search by 3.00 points (p = 0.016 by Holm)."
    assert "cannot fall" not in " ".join(shown)


def test_one_run_shows_no_spread_and_without_random_nothing_is_tested() -> None:
    words = findings(runs(darts=[0.9], da2s=[0.91]))
    assert words[0].endswith("add random to the methods.")
    assert words[2].startswith("One run shows neither spread nor interval (da2s, darts)")
    table = study_table(runs(darts=[0.9]))
    assert table[["± sd", "95 % low", "p"]].isna().all(axis=None)


def test_an_interval_stays_within_what_an_accuracy_can_be() -> None:
    row = study_table(runs(darts=[0.02, 0.2])).iloc[0]
    assert (row["95 % low"], row["accuracy %"]) == (0.0, pytest.approx(11.0))
    assert study_table(runs(darts=[0.98, 0.8])).iloc[0]["95 % high"] == 100.0


def test_pairs_are_of_the_same_seed_whatever_the_order() -> None:
    shuffled = sorted(SIX, key=lambda run: (-run.seed, run.method))
    assert study_table(shuffled).equals(study_table(SIX))
    lacking = [run for run in SIX if not (run.method == "random" and run.seed > 2)]
    assert study_table(lacking).set_index("method").loc["da2s", "p"] == 0.25


def test_what_is_not_retrained_has_no_rank_of_its_own() -> None:
    unknown = [StudyRun("darts", 0, results(accuracies=()))]
    assert [sentence[:31] for sentence in findings(unknown)] == ["No architecture was retrained a"]
    both = study_table([*unknown, *runs(da2s=[0.9])])
    assert list(both["method"]) == ["da2s", "darts"]
    assert both["rank"].isna().tolist() == [False, True]


def test_means_that_are_equal_as_printed_share_a_rank_and_are_called_equal() -> None:
    tied = runs(darts=[0.10, 0.125], random=[0.125, 0.10], gdas=[0.1, 0.1])
    assert study_table(tied)[["rank", "method"]].to_numpy().tolist() == [[1, "darts"], [1, "random"], [3, "gdas"]]
    assert findings(tied)[1] == "darts and random have the same, highest mean, 11.25 %."
    nearly = runs(darts=[0.900041], random=[0.900039])
    assert list(study_table(nearly)["rank"]) == [1, 1]
    assert findings(nearly)[1] == "darts and random have the same mean, 90.00 %."


def test_no_order_is_claimed_that_the_paired_test_does_not_show() -> None:
    two = runs(da2s=[0.91, 0.92], random=[0.90, 0.91])
    assert outcome(two) == "unclear"
    assert findings(two)[:2] == [
        "No method is shown to be better or worse than random search with the same seeds.",
        (
            "da2s has the highest mean, 91.50 %, random the next, 90.50 %: no difference between them is shown "
            "(p = 0.500 in pairs by seed, corrected for the number of tests)."
        ),
    ]
    seven = runs(da2s=[0.95] * 7, random=[0.92] * 7)
    assert outcome(seven) == "better"
    assert "random the next, 92.00 %: the difference of 3.00 points is shown (p = 0.016" in findings(seven)[1]
    alone = [StudyRun("random", seed, results(accuracies=(0.99,))) for seed in (7, 8, 9, 10, 11, 12)]
    turned = findings([*seven, *alone])  # random search has the higher mean, by seeds that da2s lacks
    assert turned[1].startswith("random has the highest mean, 95.23 %, da2s the next, 95.00 %: no difference between")
    assert outcome(runs(da2s=[0.91] * 7, random=[0.92] * 7)) == "worse"
    # Beside random search any two of four could have been held against each other: 2 / 2**7 times 6 pairs.
    four = runs(da2s=[0.95] * 7, darts=[0.94] * 7, gdas=[0.93] * 7, random=[0.92] * 7)
    assert "darts the next, 94.00 %: no difference between them is shown (p = 0.094" in findings(four)[1]
    apart = [*runs(da2s=[0.95]), StudyRun("darts", 7, results(random=[90.0] * 40, accuracies=(0.9,)))]
    assert outcome(apart) == "none"
    assert "without a seed in common they are not tested, so this is no order" in findings(apart)[1]


def test_gaps_and_taus_have_an_interval_over_the_seeds_or_that_of_the_only_run() -> None:
    def run(seed: int, tau: float, count: int) -> StudyRun:
        stages = {
            "search": {"epochs": 12}, "discretize": DISCRETIZE, "retrain": {},
            "kendall_tau": {**KENDALL, "tau_b": tau, "n": count, "depth_tau_b": None},
        }  # fmt: skip
        return StudyRun("darts", seed, results(random=[90.0] * 40, accuracies=(0.9,), stages=stages))

    one = study_table([run(0, 0.1, 200)]).iloc[0]
    assert one[["structure tau", "structure tau low", "structure tau high", "structure n"]].tolist() == [
        0.1, KENDALL["tau_b_low"], KENDALL["tau_b_high"], 200,
    ]  # fmt: skip
    assert one[["gap, points low", "gap, points high"]].tolist() == pytest.approx([5.0, 13.0])
    assert one[["depth tau", "depth n"]].isna().all()
    two = study_table([run(0, 0.1, 3), run(1, 0.3, 2)]).iloc[0]
    # t(0.975, 1) = 12.706 times 0.1414 / sqrt(2) leaves what a tau can be
    assert two[["structure tau", "structure tau low", "structure tau high", "structure n"]].tolist() == pytest.approx(
        [0.2, -1.0, 1.0, 2]
    )
    assert two["percentile n"] == 40


def test_a_percentile_that_some_seeds_lack_is_not_that_of_the_seeds() -> None:
    compared, alone = runs(darts=[0.91])[0], StudyRun("darts", 1, results(accuracies=(0.91,)))
    assert study_table([compared, alone]).iloc[0][["percentile"]].isna().all()
    assert study_table([compared]).iloc[0]["percentile"] == 100
