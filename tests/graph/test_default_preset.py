"""The default preset in little: with a bank of its protocol nothing is trained but what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nascommon.config import load_params
from tests.pipeline.tiny_bank import with_bank
from tests.stages.project import ROOT, new_project

STAGES = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


@pytest.mark.slow
def test_the_first_run_is_judged_by_a_bank_and_trains_the_winner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "default", ROOT / "params.yaml")
    assert load_params(project.params).baseline.architectures == 0
    project.change(
        tracking="none",
        device="cpu",
        search__snapshots=2,
        methods__da2s__epochs=2,
        discretize__worth_images=10,
        retrain__training__epochs=1,
        transfer__training__epochs=1,
        transfer__training__warmup_epochs=0,
        kendall_tau__known_architectures=45,
        kendall_tau__known_by_epoch=4,
    ).stages("inventory", "prepare")
    draw = np.random.default_rng(0)
    quality = draw.normal(0.3, 0.04, 45)
    with_bank(project, [(one + draw.normal(0, 0.02, 3)).clip(0, 1).tolist() for one in quality])
    monkeypatch.setattr("nascommon.training.many._train", lambda *_: pytest.fail("an architecture is trained"))
    project.stages(*STAGES)
    assert project.json("data/metrics/retrain.json")["trainings"] == 3
    kendall = project.json("data/metrics/kendall_tau.json")
    assert (kendall["n"], kendall["known_trainings"]) == (45, 3)
    (comparison,) = project.json("data/evaluate/results.json")["comparisons"]
    assert (comparison["n"], comparison["trainings"]) == (45, 3)
    assert comparison["noise"]["of_mean"] > comparison["noise"]["value"] > 0.5
    report = (project.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "means of 3 trainings, lies between architectures" in report
