"""MLflow hears of a whole pipeline: five figures, the report, and of each stage that the cache brought back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from nascommon.config import load_params
from nascommon.pipeline.recording import record_result
from nascommon.tracking.tracker import Tracker
from tests.stages.project import Project


class Heard(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("none", None)
        self.figures: Mapping[str, float] = {}
        self.description = ""
        self.files: list[Path] = []
        self.stages: dict[str, tuple[Mapping[str, float], Sequence[tuple[int, Mapping[str, float]]]]] = {}

    @property
    def active(self) -> bool:
        return True

    def result(self, metrics: Mapping[str, float], description: str, files: Iterable[Path]) -> None:
        self.figures, self.description, self.files = metrics, description, list(files)

    def cached(
        self, stage: str, metrics: Mapping[str, float], epochs: Sequence[tuple[int, Mapping[str, float]]] = ()
    ) -> None:
        self.stages[stage] = (metrics, epochs)


@pytest.fixture
def heard(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Heard:
    finished.change(transfer__data=None).stage("transfer")
    monkeypatch.chdir(finished.folder)
    tracker = Heard()
    record_result(tracker, load_params(Path("params.yaml")))
    return tracker


def test_the_pipeline_gets_its_figures_its_report_and_its_drawing(heard: Heard) -> None:
    assert set(heard.figures) == {"accuracy", "gap", "percentile", "tau", "seconds"}
    assert heard.description.startswith("# darts on digits, seed 0")
    assert {file.name for file in heard.files} == {"report.html", "report.md", "genotype.svg", "genotype.png"}


def test_every_stage_but_those_left_out_shows_figures_time_and_curves(heard: Heard) -> None:
    assert set(heard.stages) == {"search", "discretize", "retrain", "kendall_tau", "baseline"}
    metrics, epochs = heard.stages["search"]
    assert metrics["stage_seconds"] >= 0
    assert [step for step, _ in epochs] == [0, 1, 2]
    assert {"train_loss", "valid_accuracy", "skips_normal"} <= set(epochs[0][1])
    assert "epoch" not in epochs[0][1]
    assert heard.stages["kendall_tau"][1] == []


def test_a_stage_of_another_seed_or_of_other_settings_is_no_part_of_the_pipeline(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.folder)
    params = load_params(Path("params.yaml"))
    changes: list[tuple[str, int, set[str]]] = [
        ("seed", 7, set()), ("retrain.training.epochs", 9, {"search", "discretize", "transfer"}),
    ]  # fmt: skip
    for key, value, left in changes:
        tracker = Heard()
        record_result(tracker, params.changed({key: value}))
        assert set(tracker.stages) == left, key
