"""A search in a space that others have trained: evaluate answers from the table, or says why it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.stages.project import ROOT, Project, new_project

pytestmark = pytest.mark.slow
SHARED = ROOT.parent / "shared" / "data" / "cifar10"
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
LITTLE = {
    "search__space": "nasbench201", "search__nodes": None, "search__cells": 3, "search__watch_every": 0,
    "retrain__skip": True, "baseline__architectures": 0, "transfer__data": None,
    "retrain__network": {"channels": 2, "cells": 3, "auxiliary": False},
    "kendall_tau__network": {"channels": 2, "cells": 3, "auxiliary": False}, "kendall_tau__deep_network": None,
    "kendall_tau__retest": False,
}  # fmt: skip
AFTER_PREPARE = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


def report(project: Project) -> str:
    return (project.folder / "data/evaluate/report.md").read_text(encoding="utf-8")


def test_on_other_pictures_the_report_says_why_nothing_is_known_and_on_its_own_it_ranks(prepared: Project) -> None:
    prepared.change(**LITTLE).stages("prepare", *AFTER_PREPARE)
    why = "Known truth: none for this search; the table of nasbench201 knows CIFAR-10, CIFAR-100, ImageNet16-120; "
    assert f"{why}this search sees digits." in report(prepared)
    assert not any(name.startswith("truth") for name in prepared.json("data/metrics/evaluate.json"))

    # What a search on CIFAR-10 leaves differs in its pictures alone.
    said = prepared.change(data__source="cifar10", data__path="elsewhere").stage("evaluate")
    metrics = prepared.json("data/metrics/evaluate.json")
    assert metrics["test_accuracy"] is None
    assert 1 <= metrics["truth_rank"] <= 15_625
    assert metrics["truth_rank_cifar10"] == metrics["truth_rank"]
    assert f"Rank {metrics['truth_rank']:,} of 15,625 on CIFAR-10" in said
    results = prepared.json("data/evaluate/results.json")
    assert results["verdict"].startswith("rank ")
    assert results["truth"]["random_search"]["training_seconds"] > 0
    assert "## Known truth" in report(prepared)
    assert "DARTS-V1 (1st order)" in report(prepared)
    assert "Depth gap: none can be measured" in report(prepared)
    gaps = pd.read_csv(prepared.folder / "data/evaluate/gaps.csv")
    assert gaps["known accuracy"][0] == pytest.approx(100 * metrics["truth_accuracy"], abs=0.05)
    # The papers' networks of the DARTS space are no yardstick here.
    assert "PC-DARTS (" not in pd.read_csv(prepared.folder / "data/evaluate/table.csv")["what"].str.cat(sep=" ")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared CIFAR-10 pictures are not here")
def test_a_given_cell_is_judged_on_real_cifar10_and_costs_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SHARED / "restore_cifar10.py", tmp_path / "cifar"], check=True)
    project = new_project(tmp_path / "project").change(
        **LITTLE, data__source="cifar10", data__path=str(tmp_path / "cifar"), data__limit=200,
        data__size=8, discretize__genotype=BEST, evaluate__linear_classifier=False,
    )  # fmt: skip
    project.stages("inventory", "prepare", *AFTER_PREPARE)
    metrics = project.json("data/metrics/evaluate.json")
    assert (metrics["truth_rank"], metrics["truth_regret"]) == (1, 0)
    assert metrics["truth_accuracy"] == pytest.approx(0.943733)
    drawn = project.json("data/evaluate/results.json")["truth"]["random_search"]
    assert (drawn["search_seconds"], drawn["draws"]) == (0, 1)
    assert "The found cell is better than what either count picks." in report(project)
