"""Architectures are scored as the rest of the pipeline scores them, whatever their retraining looks like."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from stages.ranked import Ranked, scorer
from stages.shell import stage_run
from tests.search.small import equal
from tests.stages.project import Project


def calibration(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the images on which batch norm is measured anew before an architecture is scored."""
    monkeypatch.setattr("stages.ranked.inherited_accuracy", lambda _state, _genotype, batches, _valid: batches)
    with (
        contextlib.chdir(project.folder),
        stage_run("kendall_tau", Path("params.yaml"), lambda params: [params.kendall_tau], []) as run,
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
