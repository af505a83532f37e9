"""The runs of a study on Ray: in rounds, told as they end, and in copies whose experiment the project gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.pipeline import study_on_ray
from nascommon.pipeline.copies import Ended
from nascommon.pipeline.study_on_ray import in_rounds, run_all
from nascommon.runtime.executor import IN_LINE
from nascommon.runtime.ray_executor import Capacity
from tests.stages.project import SMOKE

PARAMS = load_params(SMOKE).changed({"executor": "ray"})


def test_one_run_of_every_seed_goes_first_unless_one_has_finished() -> None:
    missing = [("da2s", 0), ("da2s", 1), ("darts", 0), ("darts", 1), ("darts", 2)]
    assert in_rounds(missing, []) == [[("da2s", 0), ("da2s", 1), ("darts", 2)], [("darts", 0), ("darts", 1)]]
    assert in_rounds(missing, [0, 2]) == [[("da2s", 1)], [("da2s", 0), ("darts", 0), ("darts", 1), ("darts", 2)]]
    assert in_rounds(missing, [0, 1, 2]) == [missing]
    assert in_rounds([], []) == []


def test_every_run_is_told_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(project: Path, rev: str, cell: tuple[str, int], _tell: Any) -> Ended:
        asked.append((project, rev))
        return Ended("error: the disk is full") if cell == ("darts", 1) else Ended()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_on_ray, "run_in_copy", run)
    monkeypatch.setattr(study_on_ray, "executor_of", lambda *_: IN_LINE)
    monkeypatch.setattr(study_on_ray, "room", lambda *_: Capacity(2, 1))
    monkeypatch.setattr("nascommon.pipeline.experiments.snapshot", lambda _preset: "commit")
    told: list[tuple[tuple[str, int], Ended]] = []
    run_all(PARAMS, [("da2s", 0), ("darts", 0), ("darts", 1)], [], lambda *said: told.append(said))
    assert told == [
        (("da2s", 0), Ended()), (("darts", 1), Ended("error: the disk is full")), (("darts", 0), Ended()),
    ]  # fmt: skip
    assert asked == [(tmp_path, "commit")] * 3
