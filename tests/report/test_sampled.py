"""The report says whether a search prefers architectures that are known to be good."""

from __future__ import annotations

from nascommon.report.sampled import sampled_sentences


def test_the_report_says_whether_the_search_prefers_good_ones() -> None:
    figures = {
        "sampled_wanted": 100, "sampled_different": 60, "sampled_known": 60, "sampled_mean": 0.92,
        "sampled_tau_b": 0.4, "sampled_tau_b_low": 0.3, "sampled_tau_b_high": 0.5, "sampled_uniform_n": 262,
        "sampled_uniform_mean": 0.9, "sampled_difference": 0.02, "sampled_difference_low": 0.01,
        "sampled_difference_high": 0.03,
    }  # fmt: skip
    (sentence,) = sampled_sentences(figures)
    assert sentence == (
        "The final mixing weights drew 60 different architectures (100 wanted), 60 of them known, with a mean accuracy "
        "of 92.00 % against 90.00 % of 262 drawn uniformly among what they can draw: better than chance (+2.00 points, "
        "95 % interval +1.00 to +3.00). Among them search score against known accuracy has Kendall tau-b 0.40 (95 % "
        "interval 0.30 to 0.50)."
    )
    (worse,) = sampled_sentences({**figures, "sampled_difference_low": -0.03, "sampled_difference_high": -0.01})
    (unsure,) = sampled_sentences({**figures, "sampled_difference_low": -0.01})
    assert "worse than chance" in worse
    assert "not shown to differ from chance" in unsure
    assert sampled_sentences({"n": 3}) == []
