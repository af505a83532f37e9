"""Architectures are scored as the rest of the pipeline scores them, whatever their retraining looks like."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.pipeline.ranked import RankingSetup, scorer
from nascommon.pipeline.run import stage_run
from nascommon.runtime.executor import Piece, Processes
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
        ranked = RankingSetup.open(run)
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
    """Pieces, precision and watch of the searches of multi_run come from the same settings."""
    calls: list[dict[str, Any]] = []

    def noted(method: Any, base: Any, _data: Any, **settings: Any) -> Any:
        calls.append({"precision": base.precision, "pieces": settings["pieces"], "watch": settings["watch_every"]})
        raise ReachedError

    monkeypatch.setattr("nascommon.pipeline.search.run_search", noted)
    searched.change(search__pieces=3, search__watch_every=7, precision="bfloat16", kendall_tau__mode="multi_run",
                    jobs=1)  # fmt: skip
    for stage in ("search", "kendall_tau"):
        with pytest.raises(ReachedError):
            searched.stage(stage)
    assert calls == [{"precision": "bfloat16", "pieces": 3, "watch": 7}] * 2


def ends(project: Project, jobs: int) -> tuple[list[tuple[str, float | None]], list[Any], list[int]]:
    """Return names and accuracies of further searches, their states, and how large each was as a piece of work."""
    sizes: list[int] = []
    project.change(jobs=jobs, kendall_tau__mode="multi_run")
    with (
        contextlib.chdir(project.folder),
        stage_run("kendall_tau", load_params(Path("params.yaml"))) as run,
        pytest.MonkeyPatch.context() as patch,
    ):
        run_all = Processes.run

        def weighed(self: Processes, pieces: Sequence[Piece[Any]], **hooks: Any) -> list[Any]:
            sizes.extend(len(pickle.dumps(piece)) for piece in pieces)
            return run_all(self, pieces, **hooks)

        patch.setattr(Processes, "run", weighed)
        first, *further = RankingSetup.open(run)._runs(3)
        assert first.name == "seed of this run"
        states = [architecture.source.open().state_dict() for architecture in further]
    return [(one.name, one.source.valid_accuracy) for one in further], states, sizes


@pytest.mark.slow
def test_searches_side_by_side_end_as_one_by_one(searched: Project, tmp_path: Path) -> None:
    one_by_one = ends(searched.copy(tmp_path / "other"), jobs=1)
    side_by_side = ends(searched, jobs=2)
    assert side_by_side[0] == one_by_one[0]
    assert equal(side_by_side[1], one_by_one[1])
    assert not equal(one_by_one[1][0]["supernet"], one_by_one[1][1]["supernet"])
    assert one_by_one[2] == []
    assert len(side_by_side[2]) == 2
    assert max(side_by_side[2]) < 100_000  # bytes


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_further_search_that_diverges_says_what_to_lower(searched: Project, jobs: int) -> None:
    searched.change(jobs=jobs, kendall_tau__mode="multi_run", methods__darts__weights={"lr": 1e6, "clip": 1e6})
    said = searched.command("kendall_tau")
    assert said.status == 2
    assert "methods.darts.weights.lr" in said.err
    assert len(said.err.splitlines()) == 1


class ReachedError(Exception):
    """The search would begin."""
