"""What is left out says so, leaves what DVC wants, and the stages after it go on."""

from __future__ import annotations

import pytest

from tests.stages.project import Project

RESULTS = "data/evaluate/results.json"
BEFORE_EVALUATE = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline")


def test_without_transfer_data_the_stage_says_that_it_is_skipped_and_evaluate_goes_on(
    finished: Project,
) -> None:
    finished.change(transfer__data=None)
    assert "transfer: skipped, transfer.data is null" in finished.stage("transfer")
    finished.stage("evaluate")
    assert finished.json("data/metrics/transfer.json") == {"skipped": 1}
    assert finished.json("data/transfer/skipped.json") == {"skipped": "transfer.data is null"}  # DVC minds empty ones
    assert finished.json("data/metrics/evaluate.json")["transfer_error_percent"] is None


def test_a_run_without_retraining_says_so_and_measures_the_gaps_all_the_same(finished: Project) -> None:
    before = finished.json("data/metrics/evaluate.json")
    finished.change(retrain__skip=True, baseline__architectures=0, transfer__data=None)
    said = finished.stages("retrain", "transfer", "baseline", "evaluate")
    assert "retrain: skipped, retrain.skip is true" in said
    left = [file.name for stage in ("retrain", "baseline") for file in (finished.folder / "data" / stage).iterdir()]
    assert left == ["skipped.json"] * 2, "what an earlier run left"
    assert finished.json("data/metrics/retrain.json") == {"skipped": 1}
    assert finished.json("data/retrain/skipped.json") == {"skipped": "retrain.skip is true"}
    assert finished.json("data/metrics/baseline.json")["architectures"] == 0
    after = finished.json("data/metrics/evaluate.json")
    assert after["test_accuracy"] is after["random_mean_accuracy"] is after["p_value_vs_random"] is None
    assert after["discretization_gap"] == before["discretization_gap"]
    assert after["structure_tau"] == before["structure_tau"]
    report = (finished.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "Not retrained, since retrain.skip is true" in report
    assert "baseline.architectures" not in report, "there is nothing to compare with random architectures"
    assert "searched and retrained" not in report
    assert "retrain" not in finished.json(RESULTS)["cost_seconds"]


def test_without_transfer_data_prepare_leaves_every_output_that_dvc_wants(prepared: Project) -> None:
    prepared.change(transfer__data=None).stage("prepare")
    folder = prepared.folder / "data/prepared/transfer"
    assert (folder / "manifest.json").is_file()
    assert (folder / "split.json").is_file()
    for part in ("train", "test"):  # what an earlier run left is gone; DVC warns of empty folders
        assert [file.name for file in (folder / part).iterdir()] == ["skipped.json"]


@pytest.mark.slow
def test_random_sampling_without_training_goes_through_to_the_report(prepared: Project) -> None:
    prepared.change(search__method="random", methods__random__epochs=0, methods__random__samples=1)
    result = prepared.stages(*BEFORE_EVALUATE, "evaluate")
    assert prepared.json("data/search/search.json")["final"]["epoch"] == -1
    assert prepared.json("data/discretize/discretize.json")["samples"] == []
    assert "kendall_tau: skipped" in result
    report = (prepared.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "all 0 architectures" not in report
