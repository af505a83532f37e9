"""The smoke preset goes through every stage, and what the stages promise to leave is there."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from nascommon.config import load_params
from nascommon.pipeline.run import protocol
from nascommon.report.settings import EvaluateSettings
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.seeding import derive
from nascommon.space.genotype import DARTS_KINDS, genotype_from_json
from nascommon.training import many
from nascommon.training.artefact import load_network
from nascommon.training.loop import training_steps
from tests.stages.project import Project
from tests.tracking.store import URI, follow

FILES = (
    "data/search/search.json", "data/search/final.safetensors", "data/search/history.parquet",
    "data/search/architecture.parquet", "data/search/weights_normal.png", "data/search/weights_reduction.png",
    "data/discretize/genotype.json", "data/discretize/genotype.svg", "data/discretize/genotype.png",
    "data/retrain/network.json", "data/retrain/network.safetensors",
    "data/transfer/network.json", "data/transfer/network.safetensors",
    "data/kendall_tau/ranking.json", "data/kendall_tau/architectures.csv", "data/kendall_tau/ranking.png",
    "data/baseline/random_000/network.safetensors", "data/baseline/random_001/network.json",
    "data/evaluate/results.json", "data/evaluate/table.csv", "data/evaluate/table.json", "data/evaluate/report.md",
    "data/evaluate/report.html", "data/evaluate/random.csv", "data/evaluate/protocol.json",
    "data/plots/search.csv", "data/plots/retrain.csv", "data/plots/transfer.csv", "data/plots/kendall_tau.csv",
)  # fmt: skip
METRICS = {
    "search": {"valid_accuracy", "search_seconds", "peak_memory_mib"},
    "discretize": {
        "discretization_gap", "discretization_gap_recalibrated", "soft", "kept", "kept_recalibrated",
        "skips_normal", "skips_reduction", "selection_seconds",
    },
    "retrain": {
        "train_accuracy", "valid_accuracy", "valid_images", "best_epoch_valid_accuracy", "train_loss",
        "images_per_second",
        "train_seconds", "params", "mult_adds", "paper_flops", "peak_memory_mib",
    },
    "transfer": {"train_accuracy", "params", "mult_adds", "paper_flops", "images_per_second"},
    "kendall_tau": {"tau_a", "tau_b", "tau_c", "weighted_tau", "p_value", "n", "retest_tau_b"},
    "baseline": {"architectures", "train_seconds"},
    "evaluate": {
        "test_accuracy", "test_images", "test_error_percent", "random_mean_accuracy", "percentile_vs_random",
        "p_value_vs_random", "linear_error_percent", "transfer_error_percent", "transfer_test_images", "total_seconds",
    },
}  # fmt: skip
SUMMARY = {"accuracy", "gap", "percentile", "tau", "seconds", "random_accuracy", "params"}
RESULTS = "data/evaluate/results.json"
BEFORE_EVALUATE = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline")


@pytest.mark.parametrize("file", FILES)
def test_every_promised_file_is_there_and_not_empty(finished_once: Project, file: str) -> None:
    assert (finished_once.folder / file).stat().st_size > 0


@pytest.mark.parametrize("stage", METRICS)
def test_metrics_hold_the_promised_figures_as_numbers(finished_once: Project, stage: str) -> None:
    metrics = finished_once.json(f"data/metrics/{stage}.json")
    assert set(metrics) >= METRICS[stage]
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())


def test_the_summary_holds_the_few_figures_that_runs_are_compared_by(finished_once: Project) -> None:
    metrics = finished_once.json("data/metrics/summary.json")
    assert set(metrics) == SUMMARY
    assert metrics["accuracy"] == finished_once.json("data/metrics/evaluate.json")["test_accuracy"]
    assert metrics["params"] == finished_once.json("data/metrics/retrain.json")["params"]


@pytest.mark.parametrize("stage", ["prepare", *METRICS])
def test_every_stage_says_how_long_it_took_apart_from_its_figures(finished_once: Project, stage: str) -> None:
    assert finished_once.json(f"data/times/{stage}.json")["seconds"] > 0


def test_nothing_is_left_to_resume_after_success(finished_once: Project) -> None:
    assert finished_once.checkpoints() == []


def test_the_history_has_every_epoch_with_every_weight(finished_once: Project) -> None:
    history = pd.read_parquet(finished_once.folder / "data/search/history.parquet")
    weights = pd.read_parquet(finished_once.folder / "data/search/architecture.parquet")
    assert list(history["epoch"]) == [0, 1, 2]
    # 2 nodes: 2 + 3 edges; 8 candidates; 2 kinds of cell; 3 epochs
    assert len(weights) == 5 * 8 * 2 * 3
    sums = weights.groupby(["epoch", "cell", "edge"])["weight"].sum()
    assert (sums - 1).abs().max() < 1e-6
    assert {"skips_normal", "entropy_normal", "train_accuracy", "valid_accuracy", "seconds"} <= set(history)
    for text in history["genotype"]:
        assert len(genotype_from_json(json.loads(text))["normal"].nodes) == 2


def test_the_genotype_says_where_it_comes_from(finished_once: Project) -> None:
    tree = finished_once.json("data/discretize/genotype.json")
    assert tree["schema"] == 1
    assert tree["provenance"]["method"] == "darts"
    assert tree["provenance"]["seed"] == 0
    assert tree["provenance"]["search_epochs"] == 3
    assert {len(genotype_from_json(tree)[kind].nodes) for kind in DARTS_KINDS} == {2}


@pytest.mark.parametrize("stage", ["retrain", "transfer", "baseline/random_001"])
def test_saved_networks_load_and_predict(finished_once: Project, stage: str) -> None:
    folder = finished_once.folder / "data" / stage
    network, _, metrics = load_network(folder, torch.device("cpu"), stage)
    description = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    side = 32 if stage == "transfer" else 8
    images = torch.zeros(2, network.spec.image_channels, side, side)
    assert network(images).shape == (2, 10)
    assert description["provenance"]["command"].startswith("python -m stages.")
    assert metrics == description["metrics"]


def test_the_table_names_the_yardsticks_and_no_paper_whose_protocol_is_another(finished_once: Project) -> None:
    table = pd.read_csv(finished_once.folder / "data/evaluate/table.csv")
    what = " | ".join(table["what"].astype(str))
    for words in ("searched and retrained", "random architectures", "linear classifier", "transferred"):
        assert words in what
    assert set(table["whose"]) == {"ours"}
    report = (finished_once.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "Kendall" in report
    assert "Cost:" in report


def test_no_setting_of_evaluate_is_ignored_and_the_size_of_its_batches_changes_no_figure(finished: Project) -> None:
    assert set(EvaluateSettings.model_fields) == {"batch_size", "linear_classifier", "published_protocol"}
    before, nulls = finished.metrics("evaluate")["evaluate"], len(finished.json(RESULTS)["comparisons"])
    assert before["linear_error_percent"] is not None
    finished.change(evaluate__batch_size=7).stage("evaluate")
    assert finished.metrics("evaluate")["evaluate"] == pytest.approx(before)
    finished.change(evaluate__linear_classifier=False, evaluate__published_protocol=True).stage("evaluate")
    assert finished.metrics("evaluate")["evaluate"]["linear_error_percent"] is None
    assert len(finished.json(RESULTS)["comparisons"]) == nulls + 1  # with the published random architectures
    assert "PC-DARTS" in set(pd.read_csv(finished.folder / "data/evaluate/table.csv")["what"])


def test_the_smoke_run_is_repeated_exactly_by_the_same_seed(finished_once: Project, prepared: Project) -> None:
    prepared.stages("search", "discretize")
    ours, theirs = (
        load_file(project.folder / "data/search/final.safetensors") for project in (prepared, finished_once)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert prepared.metrics("search", "discretize") == finished_once.metrics("search", "discretize")


@pytest.mark.slow
def test_random_search_takes_the_best_of_its_samples(prepared: Project) -> None:
    prepared.change(search__method="random").stages("search", "discretize")
    genotype = prepared.json("data/discretize/genotype.json")
    samples = prepared.json("data/discretize/discretize.json")["samples"]
    scores = [sample["inherited_valid"] for sample in samples]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert samples[0]["genotype"]["normal"] == genotype["normal"]


@pytest.mark.slow  # an MLflow database of its own
def test_evaluate_writes_the_same_bytes_whatever_the_tracking_store_holds(finished: Project) -> None:
    def written() -> dict[Path, bytes]:
        finished.stage("evaluate")
        files = [*(finished.folder / "data/evaluate").rglob("*"), finished.folder / "data/metrics/evaluate.json"]
        return {file: file.read_bytes() for file in files if file.is_file()}

    untracked = written()
    params = load_params(finished.change(tracking=URI).params)
    tags = {"protocol": protocol(params), "settings": "abc123"}
    with follow(finished.folder, "0c", stage="evaluate", method="da2s", tags=tags) as tracker:
        tracker.headline({"test_accuracy": 0.125, "discretization_gap": 0.5})
        assert tracker.active
    with follow(finished.folder, "0d", stage="evaluate", tags={"protocol": "other", "settings": "abc123"}) as tracker:
        tracker.headline({"test_accuracy": 0.5})
    assert written() == untracked
    table = finished.stage("compare")
    assert re.search(r"\| da2s +\| +\d+ \| +12\.50 % \|", table)
    assert "(1 with other settings is not shown)" in table
    assert re.search(r"\| … old batch norm +\| 50\.0 +\|", table)
    finished.change(tracking="none")
    assert "`tracking: none`" in finished.stage("compare")
    assert "make compare" in (finished.folder / "data/evaluate/report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["unrolled", "unrolled_exact"])
def test_second_order_searches_and_finds_other_weights(
    prepared: Project, searched_once: Project, gradient: str
) -> None:
    prepared.change(methods__darts__arch_gradient=gradient).stage("search")
    first, second = (
        load_file(project.folder / "data/search/final.safetensors") for project in (searched_once, prepared)
    )
    assert any(not torch.equal(first[name], second[name]) for name in first if name.startswith("logits."))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "key"),
    [
        ("search", "methods.darts.weights.lr or methods.darts.architecture.lr"),
        ("retrain", "retrain.training.lr"),
        ("transfer", "transfer.training.lr"),
        ("baseline", "retrain.training.lr"),
    ],
)
def test_a_rate_too_high_ends_in_one_line_that_names_the_stage_the_epoch_and_the_key(
    searched: Project, stage: str, key: str
) -> None:
    searched.change(**{key.split(" or ", maxsplit=1)[0].replace(".", "__"): 1e6})
    genotype = searched.json("data/discretize/genotype.json")
    result = searched.command(stage)
    assert result.status == 2
    complaint = rf"error: params.yaml: {stage} diverged, \w+_loss is (nan|inf) after epoch \d; lower {key}"
    assert re.fullmatch(complaint, result.err.splitlines()[-1])
    assert "Traceback" not in result.err
    assert not (searched.folder / f"data/metrics/{stage}.json").exists() or stage == "search"
    assert searched.json("data/discretize/genotype.json") == genotype


@pytest.mark.slow
def test_what_diverges_is_left_out_of_the_ranking_and_the_baseline_and_named(
    searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some_diverge(*arguments: Any, seed: int, **options: Any) -> Any:
        if seed in (derive(0, "kendall", "second", 1), derive(0, "baseline", 0)):
            raise DivergenceError("diverged, train_loss is nan after epoch 1", ("training.lr",))
        return training_steps(*arguments, seed=seed, **options)

    monkeypatch.setattr(many, "training_steps", some_diverge)
    searched.change(jobs=1, kendall_tau__architectures=4)
    result = " ".join(searched.stages("retrain", "transfer", "kendall_tau", "baseline", "evaluate").split())
    assert "second_1 diverged, train_loss is nan after epoch 1; its architecture is left out of the ranking" in result
    assert "random_000 diverged, train_loss is nan after epoch 1; it is left out" in result
    ranking = searched.json("data/kendall_tau/ranking.json")
    assert ranking["diverged"] == {"second_1": "diverged, train_loss is nan after epoch 1"}
    assert ranking["ranking"]["n"] == 3
    names = set(pd.read_csv(searched.folder / "data/kendall_tau/architectures.csv")["architecture"])
    assert len(names) == 3
    assert not (searched.folder / "data/baseline/random_000").exists()
    assert (searched.folder / "data/baseline/random_001").is_dir()
    assert searched.json("data/metrics/baseline.json")["diverged"] == 1
    report = (searched.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "1 random networks diverged and are left out of the figures" in report


def test_tracking_that_fails_warns_once_and_the_files_are_the_same(
    searched: Project, finished_once: Project, caplog: pytest.LogCaptureFixture
) -> None:
    (searched.folder / "store").write_text("a file where a folder is needed")
    searched.change(tracking="sqlite:///store/mlflow.db")
    with caplog.at_level(logging.WARNING):
        searched.stage("retrain")
    warnings = [record for record in caplog.records if record.name.startswith("nascommon.tracking.tracker")]
    assert len(warnings) == 1
    assert "not tracked" in warnings[0].getMessage()
    assert searched.metrics("retrain") == finished_once.metrics("retrain")


def spoil(project: Project) -> None:
    """Overwrite every file of the test sets."""
    for path in project.folder.glob("data/prepared/*/test/**/*"):
        if path.is_file():
            path.write_bytes(b"garbage")


def delete(project: Project) -> None:
    """Delete the files of the test sets."""
    for path in sorted(project.folder.glob("data/prepared/*/test/**/*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("ruin", [spoil, delete])
def test_no_stage_before_evaluate_reads_a_test_image(prepared: Project, finished_once: Project, ruin: Any) -> None:
    ruin(prepared)
    prepared.stages(*BEFORE_EVALUATE)
    assert prepared.metrics(*BEFORE_EVALUATE) == finished_once.metrics(*BEFORE_EVALUATE)
    result = prepared.command("evaluate")
    assert result.status == 2
    assert str(Path("data/prepared/target/test/samples.safetensors")) in result.err
    assert "Traceback" not in result.err


def test_the_page_of_a_smoke_run_shows_all_it_has(finished_once: Project) -> None:
    html = (finished_once.folder / "data/evaluate/report.html").read_text(encoding="utf-8")
    assert "Not compared with" not in html
    assert html.count('class="missing"') == 0
    assert finished_once.json(RESULTS)["verdict"][1:] in html
