"""The study as a command: mistakes are a line, Ctrl-C leaves the runs alone, and a failed run fails the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stages.study
from stages.study import main, numbers
from tests.stages.project import Project, command, new_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "project")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seeds", "0 x -1"), "error: --seeds: whole numbers from 0 on, as 0 1 2 (got x -1)"),
        (("--methods", "dart"), "error: --methods: unknown: dart; known are betadarts, custom,"),
        (("--methods", ""), "error: --methods and --seeds: at least one of each is needed"),
        (("--params", "nowhere.yaml"), "nowhere.yaml"),
        ((), "not a git repository"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str, project: Project) -> None:
    result = command(main, project.folder, *arguments)
    assert result.status == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_commas_and_blanks_part_seeds() -> None:
    assert numbers("0 1,2, 3") == [0, 1, 2, 3]


def test_ctrl_c_says_that_runs_go_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages.study, "study", stopped)
    result = command(main, project.folder)
    assert (result.status, result.err) == (130, "")
    assert "study: runs go on; the same command follows them again" in result.out


def test_failed_runs_fail_the_command(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.study, "study", lambda *_: ["darts seed 1: error: the disk is full"])
    result = command(main, project.folder)
    assert result.status == 2
    assert result.err == ("error: failed, and the same command tries again: darts seed 1: error: the disk is full\n")
