"""Runs beside each other have a row each, with the headline figures as the report writes them."""

from __future__ import annotations

from nascommon.report.compared import Row, compared
from nascommon.report.verdict import GAP

SEARCHED = {
    "test_accuracy": 0.9372,
    GAP: 0.022,
    "percentile_vs_random": 29.5,
    "structure_tau": 0.06,
    "total_seconds": 67.0,
}
WIDTH = 120


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_methods_and_seeds_are_sorted_and_unknown_figures_are_empty() -> None:
    rows = [Row("random", 0, {"test_accuracy": 0.94}), Row("da2s", 10, {}), Row("da2s", 2, SEARCHED)]
    head, _, *lines = compared(rows).splitlines()
    assert cells(head) == ["method", "seed", "accuracy", "gap", "better than", "tau", "cost"]
    assert [cells(line) for line in lines] == [
        ["da2s", "2", "93.72 %", "+2.2 points", "29.5 %", "0.06", "1m07s"],
        ["da2s", "10", "", "", "", "", ""],
        ["random", "0", "94.00 %", "", "", "", ""],
    ]
    assert max(map(len, lines)) < WIDTH


def test_what_a_table_knows_stands_for_what_was_not_trained() -> None:
    known = {"truth_accuracy": 0.543, "truth_percentile": 2.53, "test_accuracy": None}
    assert cells(compared([Row("darts", 0, known)]).splitlines()[2])[2:5] == ["54.30 %", "", "2.5 %"]
