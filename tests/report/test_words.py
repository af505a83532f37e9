"""What stands behind the verdict is said with its number, its p and by which batch norm."""

from __future__ import annotations

import pytest

from nascommon.report.words import cut_sentence, operation_gap_sentence, ranking_sentence
from tests.report.results import KENDALL, results

DISCRETIZE = results()["stages"]["discretize"]


def test_the_best_tenth_has_its_p_beside_its_interval_and_why_they_can_disagree() -> None:
    best = {"top_tenth_tau_b": -0.28, "top_tenth_tau_b_low": -0.57, "top_tenth_tau_b_high": -0.01, "top_tenth_n": 20}
    said = ranking_sentence({**KENDALL, **best, "top_tenth_p_value": 0.094})
    assert said.startswith(
        "Search score against known accuracy: Kendall tau-b 0.10 (95 % interval -0.02 to 0.21), p = 0.1, n = 200. "
        "Among the best tenth: Kendall tau-b -0.28 (95 % interval -0.57 to -0.01), p = 0.094, n = 20. Intervals come"
    )
    without = ranking_sentence({**KENDALL, **best})  # as results of an earlier version are
    assert without.endswith("best tenth: Kendall tau-b -0.28 (95 % interval -0.57 to -0.01), n = 20.")


@pytest.mark.parametrize(("skips", "words"), [(0, "0 skip connections in"), (1, "1 skip connection in")])
def test_one_skip_connection_is_one(skips: int, words: str) -> None:
    assert words in operation_gap_sentence({**DISCRETIZE, "skips_normal": skips}, "normal")


def test_the_old_batch_norm_is_named_as_in_the_pictures() -> None:
    assert cut_sentence(DISCRETIZE).startswith("With the old batch norm, that of the mixture, ")
