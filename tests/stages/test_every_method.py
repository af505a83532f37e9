"""Every registered method goes through every stage to the report, with its gaps measured, and so does bfloat16."""

from __future__ import annotations

import math

import pytest
import yaml

from nascommon.method import REGISTRY
from tests.methods.smoke import smoke_settings
from tests.stages.project import SMOKE, Project

STAGES = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_method_goes_through_the_whole_graph(prepared: Project, name: str) -> None:
    written = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))["methods"]
    if name not in written:  # a method of your own, whose settings are made small by what they have
        prepared.change(**{f"methods__{name}": smoke_settings(name).model_dump(mode="json")})
    prepared.change(search__method=name).stages(*STAGES)
    metrics = prepared.json("data/metrics/evaluate.json")
    for figure in ("test_accuracy", "discretization_gap", "operation_gap_excess"):
        assert math.isfinite(metrics[figure])
    assert metrics["discretization_gap_low"] <= metrics["discretization_gap"] <= metrics["discretization_gap_high"]
    report = (prepared.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert f"# {name} on digits" in report
    assert f"| {name} " in report
    assert "Operation gap:" in report


@pytest.mark.slow
def test_the_whole_graph_in_bfloat16(prepared: Project) -> None:
    prepared.change(precision="bfloat16").stages("prepare", *STAGES)
    for file in (
        "search/search.json",
        "retrain/network.json",
        "transfer/network.json",
        "baseline/random_001/network.json",
    ):
        tree = prepared.json(f"data/{file}")
        assert tree.get("provenance", tree)["precision"] == "bfloat16"
    assert math.isfinite(prepared.json("data/metrics/evaluate.json")["test_accuracy"])
    assert prepared.json("data/metrics/kendall_tau.json")["n"] == 3
