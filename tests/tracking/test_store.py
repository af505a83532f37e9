"""MLflow shows what the stages did, once each, and a logged network predicts as the network did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nascommon.tracking.identity import StageRun
from nascommon.tracking.store import _address
from nascommon.tracking.tracker import finished_runs, track_study, tracked_pipeline
from nascommon.tracking.view import view
from tests.tracking.store import QUIET, URI, Store, follow, warned

pytestmark = QUIET


def test_there_is_one_experiment_that_explains_itself(store: Store) -> None:
    with store.follow("02"), store.follow("03", stage="retrain"):
        pass
    experiments = {str(one.name): one for one in store.client.search_experiments()}
    assert set(experiments) <= {"gapless-nas", "Default"}
    tags = experiments["gapless-nas"].tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "Compare methods" in tags["mlflow.note.content"]
    assert tags["mlflow.sharedViewState.methods"] == view()


def test_stages_of_a_pipeline_are_nested_under_its_one_run(store: Store) -> None:
    with store.follow("04", pipeline="beef04"):
        pass
    with store.follow("05", pipeline="beef04", stage="retrain"):
        pass
    parent = store.pipeline("beef04")
    assert parent.info.run_name == "darts · digits · seed 3"
    assert parent.info.status == "FINISHED"
    for key, stage in (("04", "search"), ("05", "retrain")):
        run = store.stage(key)
        assert run.info.run_name == f"{stage} · darts · seed 3"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"


def test_tags_say_what_a_run_is_of(store: Store) -> None:
    with store.follow("06", tags={"cell": "normal"}):
        pass
    tags = store.stage("06").data.tags
    wanted = {"stage": "search", "method": "darts", "seed": "3", "data": "digits", "cell": "normal"}
    assert wanted.items() <= tags.items()
    assert tags["pipeline"] == "darts · digits · seed 3 · cafe01"
    assert tags["mlflow.source.name"] == "stages/search.py"


def test_params_are_flat_on_the_stage_and_on_the_pipeline(store: Store) -> None:
    with store.follow("07", pipeline="beef07"):
        pass
    flat = {"seed": "3", "search.channels": "16", "search.noise.rate": "0.5"}
    parent = store.pipeline("beef07")
    assert store.stage("07").data.params == flat
    assert parent.data.params == flat


def test_a_quote_in_the_name_of_the_project_does_not_end_a_filter(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "it's"
    root.mkdir()
    server = f"sqlite+pysqlite:///{store.root / 'mlflow.db'}"  # as any other store than a file of the project
    for epoch in (0, 1):
        with follow(root, "0a", uri=server, pipeline="beef0a") as tracker:
            tracker.epoch(epoch, {"loss": 1.0})
            assert tracker.active
    assert warned(caplog) == []


@pytest.mark.parametrize("name", ["it's", "100%20", "what?", "a;b&c=#d", "\u00e4"])
def test_the_database_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(_address(tmp_path / name / "mlflow.db"))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE a (b INTEGER)"))
    engine.dispose()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path(name), Path(name, "mlflow.db")]


@pytest.mark.slow  # an MLflow database of its own
def test_a_project_of_any_name_is_tracked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "it's 100%20 what?"
    root.mkdir()
    with follow(root, "0b") as tracker:
        tracker.artefact(Path(__file__))
        assert tracker.active
    assert warned(caplog) == []
    assert sorted(path.name for path in root.iterdir()) == [".checkpoints", "mlartifacts", "mlflow.db"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [root.name]
    assert len(list(root.rglob(Path(__file__).name))) == 1


def test_a_pipeline_carries_its_result_and_nothing_else_of_its_stages(store: Store, tmp_path: Path) -> None:
    figures = {"accuracy": 0.75, "gap": 0.1, "percentile": 29.0, "tau": 0.04, "seconds": 60.0}
    (tmp_path / "report.md").write_text("the report")
    with store.follow("08", pipeline="beef08", stage="kendall_tau") as tracker:
        for _ in range(2):
            tracker.headline({"test_accuracy": 0.75})
            tracker.result(figures, "# the report", [tmp_path / "report.md"])
    parent = store.pipeline("beef08")
    assert parent.data.metrics == figures
    assert store.steps(parent, "accuracy") == [(0, 0.75)]
    assert parent.data.tags["mlflow.note.content"] == "# the report"
    assert [file.path for file in store.client.list_artifacts(parent.info.run_id)] == ["report.md"]
    assert store.stage("08").data.metrics == {"accuracy/test": 0.75}


def test_a_final_figure_that_is_not_the_end_of_its_curve_leaves_the_curve_alone(store: Store) -> None:
    with store.follow("1f", stage="retrain", pipeline="beef1f") as tracker:
        for epoch, accuracy in enumerate((0.5, 0.75)):
            tracker.epoch(epoch, {"train_accuracy": accuracy, "valid_accuracy": accuracy})
        tracker.headline({"train_accuracy": 0.7, "valid_accuracy": 0.75})  # a mean of trainings, and the last epoch
    run = store.stage("1f")
    assert run.data.metrics == {"accuracy/train": 0.75, "accuracy/train final": 0.7, "accuracy/valid": 0.75}
    assert store.steps(run, "accuracy/train") == [(0, 0.5), (1, 0.75)]


def test_a_description_that_is_too_long_is_cut_between_lines(store: Store) -> None:
    with store.follow("0c", pipeline="beef0c", stage="kendall_tau") as tracker:
        tracker.result({}, "a line of the report\n" * 500, [])
        assert tracker.active
    lines = store.pipeline("beef0c").data.tags["mlflow.note.content"].splitlines()
    assert set(lines[:-1]) == {"a line of the report", ""}
    assert lines[-1] == "… the rest is among the artefacts."


def cached_children(store: Store, pipeline: str) -> dict[str, Any]:
    parent = store.pipeline(pipeline).info.run_id
    return {run.info.run_name: run for run in store.runs(f"tags.mlflow.parentRunId = '{parent}'")}


def test_a_stage_from_the_cache_shows_its_figures_and_that_it_did_not_run(store: Store) -> None:
    with store.follow("0d", pipeline="beef0d", stage="search") as tracker:
        tracker.headline({"valid_accuracy": 0.5})
    with store.follow("0e", pipeline="beef0d", stage="kendall_tau", tags={"protocol": "p0d"}) as tracker:
        for _ in range(2):
            tracker.cached("search", {"valid_accuracy": 0.1})
            tracker.cached("retrain", {"params": 9.0}, [(0, {"train_loss": 2.0}), (1, {"train_loss": 1.0})])
    children = cached_children(store, "beef0d")
    assert set(children) == {
        "search · darts · seed 3", "retrain · darts · seed 3 · cached", "kendall_tau · darts · seed 3",
    }  # fmt: skip
    assert children["search · darts · seed 3"].data.metrics == {"accuracy/valid": 0.5}
    run = children["retrain · darts · seed 3 · cached"]
    assert run.data.metrics == {"size/params": 9.0, "loss/train": 1.0}
    assert store.steps(run, "loss/train") == [(0, 2.0), (1, 1.0)]
    wanted = {"cached": "true", "stage": "retrain", "protocol": "p0d", "mlflow.source.name": "stages/retrain.py"}
    assert wanted.items() <= run.data.tags.items()
    with store.follow("0f", pipeline="beef0d", stage="retrain"):
        pass
    assert set(cached_children(store, "beef0d")) == {
        "search · darts · seed 3", "retrain · darts · seed 3", "kendall_tau · darts · seed 3",
    }, "what really ran stands in for what the cache had"  # fmt: skip


def test_a_pipeline_that_came_from_the_cache_whole_has_a_run(store: Store) -> None:
    run = StageRun(store.root.resolve(), "kendall_tau", "gdas", 1, "digits", "", "beef1c", {"seed": 1})
    with tracked_pipeline(URI, run) as tracker:
        tracker.result({"accuracy": 0.5}, "cached", [])
        tracker.cached("retrain", {"params": 5.0})
    parent = store.pipeline("beef1c")
    assert (parent.data.metrics, parent.info.status) == ({"accuracy": 0.5}, "FINISHED")
    assert set(cached_children(store, "beef1c")) == {"retrain · gdas · seed 1 · cached"}


def test_a_stage_run_again_in_another_pipeline_leaves_the_first_its_run(store: Store) -> None:
    for pipeline in ("beef1d", "beef1e"):
        with store.follow("1d", pipeline=pipeline):
            pass
    assert [len(cached_children(store, pipeline)) for pipeline in ("beef1d", "beef1e")] == [1, 1]


def test_files_and_folders_are_artefacts_beside_the_database(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.txt").write_text("a")
    with store.follow("09") as tracker:
        tracker.artefact(tmp_path / "plots" / "a.txt", "drawings")
        tracker.artefact(tmp_path / "plots", "plots")
        tracker.artefact(tmp_path / "missing.txt")
        assert tracker.active
    run = store.stage("09")
    kept = store.root / "mlartifacts" / run.info.run_id / "artifacts"
    assert (kept / "drawings" / "a.txt").read_text() == "a"
    assert [file.path for file in store.client.list_artifacts(run.info.run_id, "plots")] == ["plots/a.txt"]
    assert warned(caplog) == [f"{tmp_path / 'missing.txt'} does not exist, so MLflow did not get it"]


def network() -> nn.Module:
    """Small, with the layers whose evaluation differs from their training."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4, 3),
    )
    made(torch.randn(8, 3, 8, 8))
    return made.to(memory_format=torch.channels_last)


def test_the_logged_network_predicts_what_the_network_predicts(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    import mlflow.pytorch

    trained = network()
    weights = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    with store.follow("21") as tracker:
        for _ in range(3):
            tracker.model(trained, torch.randn(1, 3, 8, 8), "retrained")
    assert warned(caplog) == []
    assert trained.training, "the network itself is as it was"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trained.state_dict().items())
    (found,) = store.models("retrained")
    assert found.source_run_id == store.stage("21").info.run_id
    loaded = mlflow.pytorch.load_model(found.artifact_location)
    for batch in (1, 5):
        images = torch.randn(batch, 3, 8, 8)
        with torch.no_grad():
            assert torch.allclose(loaded(images), trained.eval()(images), atol=1e-6), batch
    assert not list(Path(found.artifact_location.removeprefix("file://")).rglob("*.pkl"))


def test_the_network_of_a_replaced_run_is_gone_with_it(store: Store) -> None:
    for _ in range(2):
        with store.follow("29", stage="transfer") as tracker:
            tracker.model(nn.Linear(2, 2), torch.ones(2, 2), "transferred")
    (found,) = store.models("transferred")
    assert found.source_run_id == store.stage("29").info.run_id


class Unexportable(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * float(images.sum().item() > 0) if images.sum() > 0 else images


def test_a_network_that_cannot_be_exported_is_reported_and_tracking_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.follow("22") as tracker:
        tracker.model(Unexportable(), torch.ones(2, 3))
        tracker.epoch(0, {"loss": 1.0})
    (warning,) = warned(caplog)
    assert warning.startswith("the network could not be exported, so MLflow did not get it: ")
    assert store.steps(store.stage("22"), "loss") == [(0, 1.0)]


def test_finished_runs_of_a_protocol_are_found_by_method_settings_and_seed(store: Store) -> None:
    def run(key: str, method: str, seed: int, protocol: str, accuracy: float) -> None:
        tags = {"protocol": protocol, "settings": "s1"}
        with store.follow(key, stage="evaluate", method=method, seed=seed, tags=tags, pipeline=key) as tracker:
            tracker.headline({"test_accuracy": accuracy})

    run("aa01", "darts", 0, "p1", 0.5)
    run("aa02", "da2s", 0, "p1", 0.6)
    run("aa03", "darts", 0, "p2", 0.7)
    run("aa04", "darts", 0, "p1", 0.8)
    with store.follow("aa05", stage="search", method="darts", tags={"protocol": "p1", "settings": "s1"}):
        pass
    found = finished_runs(URI, store.root, "evaluate", "p1")
    assert [(one.method, one.settings, one.seed, one.metrics["test_accuracy"]) for one in found] == [
        ("da2s", "s1", 0, 0.6),
        ("darts", "s1", 0, 0.8),
    ]
    of_all = finished_runs(URI, store.root, "evaluate")
    assert [(one.method, one.protocol) for one in of_all] == [("da2s", "p1"), ("darts", "p1"), ("darts", "p2")]


def test_a_study_is_one_run_with_its_files_and_a_later_one_takes_its_place(store: Store, tmp_path: Path) -> None:
    note, page = tmp_path / "report.md", tmp_path / "report.html"
    page.write_text("<p>", encoding="utf-8")
    for count, text in enumerate(("two seeds", "three seeds" + 9000 * "\n"), 2):
        note.write_text(text, encoding="utf-8")
        track_study(URI, store.root, "aa", f"Study, {count} seeds", {"accuracy/darts": count / 10}, [note, page])
    track_study(URI, store.root, "bb", "Another", {}, [note])
    (experiment,) = [one for one in store.client.search_experiments() if one.name == "gapless-nas"]
    runs = store.client.search_runs([experiment.experiment_id], "tags.stage = 'study'")
    assert sorted(str(run.info.run_name) for run in runs) == ["Another", "Study, 3 seeds"]
    (run,) = [one for one in runs if one.info.run_name == "Study, 3 seeds"]
    assert run.data.metrics == {"accuracy/darts": 0.3}
    assert run.data.tags["mlflow.note.content"].startswith("three seeds\n")
    assert run.data.tags["mlflow.note.content"].endswith("the rest is among the artefacts.")
    assert run.info.status == "FINISHED"
    assert {one.path for one in store.client.list_artifacts(run.info.run_id)} == {"report.md", "report.html"}


def test_a_study_that_cannot_be_tracked_only_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    track_study("none", tmp_path, "aa", "Study", {}, [])
    assert not caplog.text
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    track_study(URI, tmp_path, "aa", "Study", {}, [])
    assert "failed" in caplog.text


def test_no_store_has_no_finished_runs_and_a_broken_one_only_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert finished_runs("none", tmp_path, "evaluate", "p1") == []
    assert finished_runs(URI, tmp_path, "evaluate", "p1") == []
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    assert finished_runs(URI, tmp_path, "evaluate", "p1") == []
    assert "failed" in caplog.text
