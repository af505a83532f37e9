"""The stages that train many networks end alike however many they train at a time, killed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.project import Project
from tests.stages.test_kill import assert_continues, assert_same_outputs, figures, kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("stage", ["kendall_tau", "baseline"])
def test_killed_side_by_side_and_taken_up_with_other_jobs_a_stage_ends_bit_identical(
    stage: str, searched_once: Project, tmp_path: Path
) -> None:
    whole = searched_once.copy(tmp_path / "whole").change(baseline__architectures=4)
    project = whole.copy(tmp_path / "project").change(jobs=2)
    whole.stage(stage)
    kill(project.start(stage), after=f"{stage} network 2/", within=0.3)
    assert project.checkpoints()
    project.change(jobs=3)
    assert_continues(project.command(stage), stage)
    assert project.checkpoints() == []
    assert_same_outputs(project.folder / "data" / stage, whole.folder / "data" / stage)
    assert figures(project, stage) == figures(whole, stage)
