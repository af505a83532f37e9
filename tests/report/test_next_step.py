"""What to try next answers what came out."""

from __future__ import annotations

from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.report.next_step import next_step
from tests.report.results import DISCRETIZE, KENDALL, results
from tests.report.test_verdict import MANY
from tests.stages.project import ROOT


def run(method: str = "darts", **other: Any) -> dict[str, Any]:
    return results(**{"random": MANY, "accuracies": (0.93,), **other}, provenance={"method": method, "seed": 3})


NARROW = {
    "search": {"epochs": 12}, "retrain": {}, "kendall_tau": KENDALL,
    "discretize": {**DISCRETIZE, "discretization_gap_recalibrated_low": -0.01},
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "change"),
    [
        (run(accuracies=()), "retrain.skip=false"),
        (run(random=None), "baseline.architectures=39"),
        (run(random=MANY[:38]), "baseline.architectures=39"),
        (run(given="DARTS_V2"), "discretize.genotype=null"),
    ],
)
def test_the_command_follows_from_the_result_and_can_be_run(found: dict[str, Any], change: str) -> None:
    step = next_step(found)
    assert step.command == f"dvc exp run -S {change}"
    assert step.why
    key, _, value = change.partition("=")
    plain = {"null": None, "false": False}.get(value, int(value) if value.isdigit() else value)
    load_params(ROOT / "params.yaml").changed({key: plain})  # refuses what params.yaml could not hold


@pytest.mark.parametrize(
    ("found", "methods"),
    [
        (run(), "darts da2s"),  # the gap is wide
        (run(stages=NARROW), "darts random"),
        (run("da2s"), "da2s random"),
        (run("random", accuracies=(0.8,)), "random da2s"),
        (run(accuracies=(0.96,)), "darts random"),  # better than random
        (run("random", accuracies=(0.96,)), "da2s random"),
    ],
)
def test_another_method_is_held_against_this_one_over_seeds(found: dict[str, Any], methods: str) -> None:
    assert next_step(found).command == f'make study METHODS="{methods}"'
    assert "\nstudy:" in (ROOT / "Makefile").read_text(encoding="utf-8")
