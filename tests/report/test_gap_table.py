"""One table of gaps: a run with its interval, several with their spread."""

from __future__ import annotations

from nascommon.report.gap_table import cell, gap_columns, gap_figures, gap_table, to_markdown

GAPS = gap_columns("normal")
DISCRETIZATION, DEPTH = (
    next(gap for gap in GAPS if gap.metric == metric) for metric in ("discretization_gap", "depth_tau")
)


def test_one_run_has_its_interval_and_several_their_spread() -> None:
    one = {"discretization_gap": 0.5, "discretization_gap_low": 0.4, "discretization_gap_high": 0.6}
    assert cell(DISCRETIZATION, [one]) == "50.0 [40.0, 60.0]"
    assert cell(DISCRETIZATION, [{"discretization_gap": 0.5}, {"discretization_gap": 0.3}]) == "40.0 ± 14.1"
    assert cell(DISCRETIZATION, [{"discretization_gap": 0.5}]) == "50.0"
    assert cell(DEPTH, [{"depth_tau": -0.25}]) == "-0.25"


def test_nothing_is_no_negative_number() -> None:
    assert cell(DEPTH, [{"depth_tau": -1e-9}]) == "0.00"
    assert cell(DEPTH, [{"depth_tau": -0.001}, {"depth_tau": 0.0}]) == "0.00 ± 0.00"
    below = {"discretization_gap": -1e-9, "discretization_gap_low": -0.1, "discretization_gap_high": -1e-9}
    assert cell(DISCRETIZATION, [below]) == "0.0 [-10.0, -0.0]", "an interval says on which side of 0 it ends"


def test_what_was_not_measured_stays_empty() -> None:
    assert cell(DEPTH, [{}]) == ""
    assert cell(DEPTH, [{"depth_tau": None}]) == ""


def test_a_method_is_one_row_whatever_its_number_of_seeds() -> None:
    table = gap_table(
        [("darts", "a1", {"depth_tau": 0.1}), ("da2s", "b2", {}), ("darts", "a1", {"depth_tau": 0.3})], "normal"
    )
    assert list(table["method"]) == ["da2s", "darts"]
    assert list(table["runs"]) == [1, 2]


def test_other_settings_of_a_method_are_a_row_of_their_own() -> None:
    table = gap_table([("darts", "a1", {}), ("da2s", "b2", {}), ("darts", "c3", {})], "normal")
    assert list(table["method"]) == ["da2s", "darts a1", "darts c3"]


def test_figures_come_from_the_stages_by_their_names() -> None:
    stages: dict[str, dict[str, float | None]] = {
        "discretize": {"discretization_gap": 0.2, "operation_gap_excess": 0.1, "weight_loss_worth_tau": None},
        "kendall_tau": {"tau_b": 0.4, "tau_b_low": 0.1, "tau_b_high": 0.7, "depth_tau_b": 0.5, "n": 6},
    }
    assert gap_figures(stages, "normal") == {
        "discretization_gap": 0.2, "operation_gap_excess": 0.1, "structure_tau": 0.4, "structure_tau_low": 0.1,
        "structure_tau_high": 0.7, "structure_tau_n": 6, "depth_tau": 0.5, "depth_tau_n": 6,
    }  # fmt: skip
    assert gap_figures({"discretize": {}, "kendall_tau": {"n": 0}}, "normal") == {}


def test_a_tau_says_of_how_many_architectures_it_is() -> None:
    few = gap_figures({"discretize": {}, "kendall_tau": {"tau_b": -0.82, "depth_tau_b": -0.5, "n": 3}}, "normal")
    more = {"structure_tau": -0.8, "structure_tau_n": 8}
    (alone,) = gap_table([("darts", "a1", few)], "normal").to_dict("records")
    assert (alone["structure: τ"], alone["depth: τ"]) == ("-0.82, n = 3", "-0.50, n = 3")
    (several,) = gap_table([("darts", "a1", few), ("darts", "a1", more)], "normal").to_dict("records")
    assert several["structure: τ"] == "-0.81 ± 0.01, n = 3 to 8"


def test_the_structure_gap_says_of_how_many_known_architectures_it_is() -> None:
    kendall: dict[str, float | None] = {"tau_b": 0.4, "tau_b_low": 0.3, "tau_b_high": 0.5, "n": 1000, "known": 15625}
    figures = gap_figures({"discretize": {}, "kendall_tau": kendall}, "normal")
    assert list(gap_table([("darts", "a1", figures)], "normal")["structure: τ"]) == ["0.40 [0.30, 0.50], n = 1,000"]


def test_the_markdown_table_says_what_its_columns_mean() -> None:
    text = to_markdown(gap_table([("darts", "a1", {"discretization_gap": 0.2})], "normal"), "normal")
    assert text.splitlines()[0].split()[:5] == ["|", "method", "|", "runs", "|"]
    assert all(gap.meaning in text for gap in GAPS)


def test_the_skips_counted_are_those_of_the_main_kind_of_cell() -> None:
    figures = gap_figures({"discretize": {"skips_cell": 3, "skips_other": 1}, "kendall_tau": {}}, "cell")
    assert figures == {"skips_cell": 3}
    table = gap_table([("darts", "a1", figures)], "cell")
    assert list(table["skips"]) == ["3"]
    assert "skip connections in the cell" in to_markdown(table, "cell")


def test_what_a_table_knows_has_columns_only_where_it_is_known() -> None:
    known = gap_table([("darts", "a1", {"truth_accuracy": 0.543, "truth_percentile": 2.5}), ("da2s", "b2", {})], "cell")
    assert list(known["known accuracy"]) == ["", "54.3"]
    assert list(known["known: better than"]) == ["", "2.50"]
    assert "percent of all architectures of the space that are worse" in to_markdown(known, "cell")
    unknown = gap_table([("darts", "a1", {"truth_accuracy": None})], "cell")
    assert not any("known" in column for column in unknown.columns)
    assert "known" not in to_markdown(unknown, "cell")
