"""A result is told of, and logged, under its own name alone: what has changed since it was made is said first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stages.summary
from nascommon.config import Params, load_params
from nascommon.pipeline.birth import UNCHANGED, change
from nascommon.pipeline.closing import STAGES
from tests.stages.project import Project


@pytest.fixture
def summary(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[str, list[str]]]:
    """Print the summary of a finished project; return it on one line, with the methods that MLflow was told of."""
    logged: list[str] = []

    def record(params: Params) -> None:
        logged.append(params.search.method)

    monkeypatch.setattr(stages.summary, "record_pipeline", record)
    monkeypatch.chdir(finished.folder)

    def run() -> tuple[str, list[str]]:
        logged.clear()
        return " ".join(finished.stage("summary").split()), list(logged)

    return run


def rewrite(path: str, **values: Any) -> None:
    """Change keys of a JSON file; None takes one out."""
    tree = {**json.loads(Path(path).read_text(encoding="utf-8")), **values}
    tree = {key: value for key, value in tree.items() if value is not None}
    Path(path).write_text(json.dumps(tree), encoding="utf-8")


def test_a_result_is_logged_where_it_is_what_params_yaml_asks_for(summary: Callable[[], tuple[str, list[str]]]) -> None:
    said, logged = summary()
    assert change(load_params(Path("params.yaml")), STAGES) == UNCHANGED
    assert "beware" not in said
    assert logged == ["darts"]


def test_after_params_yaml_was_edited_a_result_keeps_its_name_and_is_not_logged_under_another(
    finished: Project, summary: Callable[[], tuple[str, list[str]]]
) -> None:
    kept = finished.params.read_bytes()
    finished.change(search__method="gdas", seed=7)
    said, logged = summary()
    assert (
        "darts on digits, seed 0 beware These are results of darts on digits, seed 0, and params.yaml asks for gdas on "
        "digits, seed 7 (other: seed, search.method). MLflow is not told; run `dvc repro`."
    ) in said
    assert logged == []
    finished.params.write_bytes(kept)
    finished.change(methods__darts__epochs=9, retrain__seeds=5)
    said, logged = summary()
    assert "and params.yaml has other settings (other: methods.darts.epochs, retrain.seeds). MLflow" in said
    assert logged == []
    finished.params.write_bytes(kept)
    finished.change(threads=2, jobs=2)  # where it is computed is no part of what it is
    assert summary()[1] == ["darts"]


def test_files_of_another_run_beside_a_result_are_named_and_their_time_is_left_out(
    summary: Callable[[], tuple[str, list[str]]],
) -> None:
    rewrite("data/search/search.json", method="random")
    rewrite("data/discretize/discretize.json", soft=0.5)
    said, logged = summary()
    assert (
        "beware The files of search, discretize in data/ are of another run by now, or gone; the time leaves them out."
        in said
    )
    assert logged == []
    times = said.partition("in all:")[2]
    assert "retrain" in times
    assert "search" not in times.partition("(whole")[0]


def test_other_code_and_a_result_without_notes_are_not_logged_either(
    summary: Callable[[], tuple[str, list[str]]],
) -> None:
    rewrite("data/times/search.json", code="of yesterday")
    said, logged = summary()
    assert "beware The code of search has changed since. MLflow is not told; run `dvc repro`." in said
    assert logged == []
    rewrite("data/times/evaluate.json", settings=None)
    said, logged = summary()
    assert "beware Nothing notes of what these results were made. MLflow is not told; run `dvc repro`." in said
    assert logged == []
