"""The study's dealings with git and DVC, the last of them with DVC's own queue and worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nascommon.config import load_params
from nascommon.pipeline import experiments
from nascommon.runtime.home import COPIES
from nascommon.settings import UserError
from tests.stages.project import SMOKE, Project

GRAPH = """\
stages:
  evaluate:
    cmd: python run.py
    params: [seed, search.method]
    deps: [run.py]
    outs: [data/inventory.json, data/evaluate]
"""
RUN = """\
import os, pathlib, time
while not pathlib.Path(os.environ["DVC_ROOT"], "go").exists():
    time.sleep(0.1)
pathlib.Path("data/evaluate").mkdir(parents=True)
pathlib.Path("data/evaluate/results.json").write_text('{"metrics": {}}')
pathlib.Path("data/inventory.json").write_text("none")
"""
MD5_OF_NONE = "334c4a4c42fdb79d7ebc3e73b517e6f8"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with the smoke preset as params.yaml, and the working directory."""
    folder = tmp_path / "project"
    (folder / "stages").mkdir(parents=True)
    for name, value in Project.environment(
        DVC_NO_ANALYTICS="1", XDG_CACHE_HOME=str(tmp_path / "cache"), GIT_AUTHOR_NAME="test", GIT_COMMITTER_NAME="test",
        GIT_AUTHOR_EMAIL="test@localhost", GIT_COMMITTER_EMAIL="test@localhost",
    ).items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    shutil.copy(SMOKE, folder / "params.yaml")
    (folder / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    (folder / "stages/one.py").write_text("", encoding="utf-8")
    (folder / ".gitignore").write_text("/go\n", encoding="utf-8")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "sources")):
        experiments.git(*words)
    experiments.settings_at.cache_clear()
    experiments.code_is_that_of.cache_clear()
    return folder


def test_a_preset_stands_in_while_runs_are_queued_and_goes_whatever_happens(project: Path, tmp_path: Path) -> None:
    params, preset = project / "params.yaml", tmp_path / "preset.yaml"
    mine = params.read_bytes() + b"# mine, in no commit\n"
    params.write_bytes(mine)
    preset.write_bytes(b"seed: 5\n")
    with pytest.raises(KeyboardInterrupt), experiments.in_place(preset):
        stop(params.read_bytes())
    assert params.read_bytes() == mine
    with experiments.in_place(params):
        assert params.read_bytes() == mine


def test_after_a_kill_the_users_params_come_back(project: Path, tmp_path: Path) -> None:
    params, preset = project / "params.yaml", tmp_path / "preset.yaml"
    mine = params.read_bytes()
    preset.write_bytes(b"seed: 5\n")
    killed = experiments.in_place(preset)
    killed.__enter__()  # and never left
    assert params.read_bytes() == b"seed: 5\n"
    experiments.put_back()
    assert params.read_bytes() == mine
    experiments.put_back()
    assert params.read_bytes() == mine


def test_settings_and_code_of_a_commit_are_read_from_git(project: Path) -> None:
    found = experiments.settings_at("HEAD")
    assert found is not None
    assert found.model_dump() == load_params(SMOKE).model_dump()
    assert experiments.code_is_that_of("HEAD")
    experiments.code_is_that_of.cache_clear()
    (project / "stages/one.py").write_text("changed", encoding="utf-8")
    assert not experiments.code_is_that_of("HEAD")
    (project / "stages/two.py").write_text("new", encoding="utf-8")
    assert experiments.untracked_code() == ["stages/two.py"]
    (project / "params.yaml").write_text("none: of ours\n", encoding="utf-8")
    experiments.git("commit", "--quiet", "--all", "--message", "other")
    assert experiments.settings_at(experiments.git("rev-parse", "HEAD").strip()) is None
    assert experiments.recorded("HEAD", Path("data/inventory.json")) is None


def test_an_experiment_ended_when_it_was_committed_and_its_log_names_its_stages(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-27T09:50:30 +0100")
    experiments.git("commit", "--quiet", "--allow-empty", "--message", "other")
    assert experiments.ended_at("HEAD") == "2026-11-27 09:50"
    log = "'data/x.dvc' didn't change, skipping\nRunning stage 'inventory':\n> python\nStage 'prepare' is cached\n"
    monkeypatch.setattr(experiments, "dvc", lambda *_: log)
    assert experiments.stages_of("0") == ["inventory", "prepare"]
    assert experiments.stages_of("0", run_alone=True) == ["inventory"]
    assert [experiments.mostly_cached(["a stage"] * count) for count in (1, 4, 5, 9)] == [True, True, False, False]


def test_what_git_or_dvc_refuses_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^git show nowhere:a failed: fatal: [^\n]*$"):
        experiments.git("show", "nowhere:a")
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(UserError, match="dvc: not on the PATH"):
        experiments.tasks()


def test_a_copy_in_which_somebody_works_is_left_alone(project: Path) -> None:
    left, used = (project / COPIES / name for name in ("tmp_left", "tmp_used"))
    left.mkdir(parents=True)
    (used / "data").mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"], cwd=used / "data") as worker:
        try:
            assert experiments.abandoned() == [left.resolve()]
        finally:
            worker.kill()
    assert set(experiments.abandoned()) == {left.resolve(), used.resolve()}


@pytest.mark.slow
@pytest.mark.pipeline
def test_a_grid_is_queued_its_worker_killed_and_the_dead_run_done_again(project: Path) -> None:
    experiments.dvc("init", "--quiet")
    experiments.git("commit", "--quiet", "--all", "--message", "dvc")
    experiments.add_grid(["darts", "random"], [0])
    assert states() == ["Queued", "Queued"]
    with no_workers_left(project):
        began = time.monotonic()
        experiments.start_worker()
        until(lambda: "Running" in states())
        assert experiments.worker_lives()
        assert time.monotonic() - began < 60, "the worker holds the study up"
        kill_below(project)
        assert not experiments.worker_lives()
        assert states() == ["Queued", "Running"]
        (dead,) = [task for task in experiments.tasks() if task.state == "Running"]
        settings = experiments.settings_at(dead.rev)
        assert settings is not None
        experiments.drop([dead])
        assert states() == ["Queued"]
        assert list(COPIES.glob("tmp*")) == []
        experiments.add_grid([settings.search.method], [0])
        (project / "go").touch()
        experiments.start_worker()
        until(lambda: len(experiments.finished()) == 2)
    revs = experiments.finished()
    found = [experiments.settings_at(rev) for rev in revs]
    assert sorted(one.search.method for one in found if one is not None) == ["darts", "random"]
    assert {experiments.recorded(rev, Path("data/inventory.json")) for rev in revs} == {MD5_OF_NONE}
    assert experiments.results_at(revs[0], project / "kept") == {"metrics": {}}
    assert json.loads((project / f"kept/{revs[0]}.json").read_text(encoding="utf-8")) == {"metrics": {}}
    assert experiments.git("status", "--porcelain", "--", "params.yaml") == ""


def stop(content: bytes) -> None:
    assert content == b"seed: 5\n"
    raise KeyboardInterrupt


def states() -> list[str]:
    return sorted(task.state for task in experiments.tasks())


def until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < ends, experiments.dvc("queue", "status")
        time.sleep(1)


def kill_below(folder: Path) -> None:
    """Kill -9 every process whose working directory is in a folder, but for this one."""
    for process in psutil.process_iter(["cwd"]):
        inside = Path(process.info["cwd"] or "/").is_relative_to(folder)
        if inside and process.pid != os.getpid():
            process.kill()
            process.wait(10)


@contextmanager
def no_workers_left(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        kill_below(folder)
