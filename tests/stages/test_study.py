"""The study as a command: mistakes are a line, Ctrl-C leaves the runs alone, and a failed run fails the command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import stages.study
from stages.study import main, numbers
from tests.graph.test_dvc import Pipeline, new_pipeline
from tests.stages.project import Project, command, held, new_project


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


EPOCHS = 8
STUDY = (sys.executable, "-u", "-m", "stages.study", "--methods", "darts random", "--seeds", "0")


@pytest.mark.slow
@pytest.mark.pipeline
def test_on_ray_with_a_worker_killed_in_a_search_a_study_ends_as_one_by_one(
    tmp_path: Path, dvc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else the machine's other work goes first
    whole, project = (little(tmp_path / name, dvc) for name in ("whole", "project"))
    project.change(executor="ray", jobs=2)
    process = subprocess.Popen(
        STUDY, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    epochs_until(project, process, lambda done: done >= 2)
    worker(process, "ray::darts seed 0").kill()
    held = epochs_until(project, process, lambda done: not 0 < done < EPOCHS)
    assert 0 < held[0] < EPOCHS, "the search had ended before the worker was lost"
    assert held[:-1] == sorted(held[:-1]), "the search began anew"
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert err.count("darts seed 0: its worker was lost") == 1, err
    assert "another takes it up from its checkpoint" in err
    assert Project(project.folder).checkpoints() == []
    for method in ("darts", "random"):
        whole.dvc("exp", "run", "-S", f"search.method={method}")
    assert "2 finished before" in whole.run(*STUDY)
    pd.testing.assert_frame_equal(table(project), table(whole), check_exact=True)


def little(folder: Path, dvc: str) -> Pipeline:
    """Return a project whose search takes a moment, and the rest as little as it can."""
    folder.parent.mkdir(exist_ok=True)
    project = new_pipeline(folder, dvc)
    project.change(
        methods__darts__epochs=EPOCHS, methods__random__epochs=1, retrain__training__epochs=1,
        transfer__training__epochs=1, kendall_tau__training__epochs=1, kendall_tau__retest=False,
        kendall_tau__deep_network=None, evaluate__linear_classifier=False,
    )  # fmt: skip
    project.commit("little")
    return project


def epochs_until(project: Pipeline, process: subprocess.Popen[str], enough: Callable[[int], bool]) -> list[int]:
    """Return the numbers of epochs that the checkpoint of the search held up to the one that is enough; 0 is none."""
    ends, seen = time.monotonic() + 300, [epochs(project)]
    while not enough(seen[-1]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends, seen
        time.sleep(0.02)
        seen.append(epochs(project))
    return seen


def epochs(project: Pipeline) -> int:
    """Return how many epochs of a search its checkpoint holds."""
    states = [held(file) for file in (project.folder / ".checkpoints" / "search").glob("*/state.ckpt")]
    return max((state["epoch"] for state in states if state), default=0)


def worker(process: subprocess.Popen[str], name: str) -> psutil.Process:
    """Return Ray's worker that is at a piece."""
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = [child for child in children if child.cmdline()[:1] and child.cmdline()[0].startswith(name)]
    return found


def table(project: Pipeline) -> pd.DataFrame:
    """Return the figures of a study that every machine repeats."""
    return pd.read_csv(project.folder / "data/study/table.csv").drop(columns="seconds")
