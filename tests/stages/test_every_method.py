"""Every registered method goes through every stage to the report, with its gaps measured."""

from __future__ import annotations

import math

import pytest

from nascommon.method import REGISTRY
from tests.stages.project import Project

STAGES = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_method_goes_through_the_whole_graph(prepared: Project, name: str) -> None:
    prepared.change(search__method=name).stages(*STAGES)
    metrics = prepared.json("data/metrics/evaluate.json")
    for figure in ("test_accuracy", "discretization_gap", "operation_gap_excess"):
        assert math.isfinite(metrics[figure])
    assert metrics["discretization_gap_low"] <= metrics["discretization_gap"] <= metrics["discretization_gap_high"]
    report = (prepared.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert f"# {name} on digits" in report
    assert f"| {name} " in report
    assert "Operation gap:" in report
