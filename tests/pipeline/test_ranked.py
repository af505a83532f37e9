"""Architectures are scored as the rest of the pipeline scores them, whatever their retraining looks like."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.pipeline.ranked import Ranked, scorer
from nascommon.pipeline.run import stage_run
from nascommon.search.artefact import load_search
from tests.search.small import equal
from tests.stages.project import Project


def calibration(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the images on which batch norm is measured anew before an architecture is scored."""
    monkeypatch.setattr(
        "nascommon.pipeline.ranked.inherited_accuracy", lambda _state, _genotype, batches, _valid: batches
    )
    with (
        contextlib.chdir(project.folder),
        stage_run("kendall_tau", load_params(Path("params.yaml"))) as run,
    ):
        ranked = Ranked.open(run)
        state = ranked.final().open()
        return scorer(ranked)(state, state.genotype())


def test_batch_norm_is_measured_on_whole_images_whatever_retraining_cuts_out(
    searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = calibration(searched, monkeypatch)
    assert len(whole) == 2
    assert equal(calibration(searched.change(kendall_tau__training__cutout=4), monkeypatch), whole)
    fewer = calibration(searched.change(kendall_tau__calibration_batches=1), monkeypatch)
    assert equal(fewer, whole[:1])


@pytest.mark.slow
def test_what_a_search_has_learned_is_scored_in_its_own_precision(prepared: Project) -> None:
    prepared.change(precision="bfloat16").stage("search")
    found = load_search(prepared.folder / "data/search")
    assert {state.spec.precision for state in (found.final, *found.snapshots)} == {"bfloat16"}
    prepared.change(precision="float32").stage("discretize")  # which the setting does not concern
    assert prepared.json("data/discretize/discretize.json")["provenance"]["precision"] == "bfloat16"


def test_searches_of_other_seeds_are_run_as_the_first_was(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In kendall_tau's mode multi_run: pieces, precision and watch come from the same settings."""
    calls: list[dict[str, Any]] = []

    def noted(method: Any, base: Any, _data: Any, **settings: Any) -> Any:
        calls.append({"precision": base.precision, "pieces": settings["pieces"], "watch": settings["watch_every"]})
        raise ReachedError

    monkeypatch.setattr("nascommon.pipeline.search.run_search", noted)
    searched.change(search__pieces=3, search__watch_every=7, precision="bfloat16", kendall_tau__mode="multi_run")
    for stage in ("search", "kendall_tau"):
        with pytest.raises(ReachedError):
            searched.stage(stage)
    assert calls == [{"precision": "bfloat16", "pieces": 3, "watch": 7}] * 2


class ReachedError(Exception):
    """The search would begin."""
