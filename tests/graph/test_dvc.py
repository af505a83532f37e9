"""DVC runs what must run and nothing else; one project goes through these steps in their order."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from tests.stages.project import ROOT, SMOKE, Project, lines_until

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

TRACKED = (
    "stages",
    "nascommon",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "pyproject.toml",
)
FIGURES = ("accuracy", "gap", "percentile", "tau", "seconds", "random_accuracy", "params")
ALL = {"prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate"}


class Pipeline:
    """A fresh git repository of the project's sources, with the smoke preset."""

    def __init__(self, folder: Path, dvc: str) -> None:
        self.folder, self.dvc_command = folder, dvc
        self.environment = Project.environment(
            DVC_NO_ANALYTICS="1", XDG_CACHE_HOME=str(folder.parent / "cache"),
            GIT_AUTHOR_NAME="test", GIT_AUTHOR_EMAIL="test@localhost", GIT_COMMITTER_NAME="test",
            GIT_COMMITTER_EMAIL="test@localhost", PYTHONUNBUFFERED="1",
        )  # fmt: skip

    def run(self, *words: str) -> str:
        """Run a command that must succeed; return all that it said."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=270
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def dvc(self, *words: str) -> str:
        return self.run(self.dvc_command, *words)

    def git(self, *words: str) -> str:
        return self.run("git", *words)

    def up_to_date(self) -> bool:
        """Return whether DVC would run nothing but the inventory, which always runs."""
        return bool(json.loads(self.dvc("status", "--json")) == {"inventory": ["always changed"]})

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def change(self, **values: Any) -> None:
        Project(self.folder).change(**values)


def ran(output: str) -> set[str]:
    """Stages that DVC ran, but for the inventory, which always runs."""
    return set(re.findall(r"Running stage '(\w+)'", output)) - {"inventory"}


def new_pipeline(folder: Path, dvc: str) -> Pipeline:
    """Return a project with the smoke preset and one commit in a folder that is made."""
    folder.mkdir()
    drop = shutil.ignore_patterns("__pycache__")
    for name in TRACKED:
        source, destination = ROOT / name, folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, ignore=drop)
        elif source.exists():
            shutil.copy(source, destination)
    for ignored in (ROOT / "data").rglob(".gitignore"):
        destination = folder / ignored.relative_to(ROOT)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ignored, destination)
    project = Pipeline(folder, dvc)
    (folder / "params.yaml").write_text(load_params(SMOKE).model_dump_json(indent=1), encoding="utf-8")
    project.git("init", "--quiet")
    project.commit("sources")
    return project


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Pipeline:
    project = new_pipeline(tmp_path_factory.mktemp("pipeline") / "project", dvc)
    project.change(methods__darts__epochs=5)
    project.commit("five epochs")
    return project


def test_1_killed_during_search_dvc_goes_on_where_it_was(pipeline: Pipeline) -> None:
    process = subprocess.Popen(
        [pipeline.dvc_command, "repro"], cwd=pipeline.folder, env=pipeline.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    lines_until(process, "search epoch 2/5")
    children = descendants(process.pid)
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    output = pipeline.dvc("repro", "search")
    assert ran(output) == {"search"}
    assert "search: continuing after epoch" in output
    assert "search epoch 1/5" not in output
    assert list((pipeline.folder / ".checkpoints").rglob("*.ckpt")) == []


def descendants(pid: int) -> list[int]:
    """The children of a process and theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [child, *descendants(child)]
    return found


def test_2_the_rest_follows(pipeline: Pipeline) -> None:
    assert ran(pipeline.dvc("repro")) == ALL - {"prepare", "search"}
    assert "random" in (pipeline.folder / "data/evaluate/report.md").read_text(encoding="utf-8")


def test_3_after_a_run_everything_is_clean_but_the_lock_file(pipeline: Pipeline) -> None:
    assert pipeline.up_to_date()
    assert [line.split()[-1] for line in pipeline.git("status", "--porcelain").splitlines()] == ["dvc.lock"]
    pipeline.commit("first run")


def test_4_a_second_call_reruns_nothing(pipeline: Pipeline) -> None:
    assert ran(pipeline.dvc("repro")) == set()


def test_5_editing_a_method_that_is_not_selected_reruns_nothing(pipeline: Pipeline) -> None:
    pipeline.change(methods__random__epochs=4)
    assert pipeline.up_to_date()
    assert ran(pipeline.dvc("repro")) == set()


def test_6_compiled_modules_and_tracking_rerun_nothing(pipeline: Pipeline) -> None:
    pipeline.run(sys.executable, "-m", "compileall", "-q", "nascommon", "stages")
    pipeline.change(tracking="sqlite:///mlflow.db")
    assert pipeline.up_to_date()
    pipeline.change(tracking="none")


def test_7_a_longer_retraining_reruns_what_it_changes_and_no_search(pipeline: Pipeline) -> None:
    pipeline.change(retrain__training__epochs=4)
    # kendall_tau, too: which known accuracies it may rank by depends on how networks are retrained.
    assert ran(pipeline.dvc("repro")) == {"retrain", "baseline", "kendall_tau", "evaluate"}
    pipeline.commit("longer retraining")


def test_8_another_method_is_an_experiment_of_one_command(pipeline: Pipeline) -> None:
    output = pipeline.dvc("exp", "run", "-S", "search.method=random")
    assert ran(output) >= {"search", "discretize", "kendall_tau", "evaluate"}
    assert not ran(output) & {"prepare", "baseline"}
    assert load_params(pipeline.folder / "params.yaml").search.method == "random"
    assert pipeline.up_to_date()


def test_9_experiments_are_compared(pipeline: Pipeline) -> None:
    difference = pipeline.dvc("metrics", "diff")
    assert "data/metrics/summary.json" in difference
    assert "accuracy" in difference
    table = list(csv.DictReader(io.StringIO(pipeline.dvc("exp", "show", "--csv"))))
    methods = {row["search.method"] for row in table}
    assert {"darts", "random"} <= methods
    shown = [name for name in table[0] if name in FIGURES]
    assert sorted(shown) == sorted(FIGURES), "named without the file, since there is no other"
    assert len(pipeline.dvc("metrics", "show").splitlines()[0]) <= 120
    changed = pipeline.dvc("params", "diff")
    assert "search.method" in changed


def test_a_plots_and_graph_are_drawn(pipeline: Pipeline) -> None:
    pipeline.dvc("plots", "show", "--out", "dvc_plots")
    page = (pipeline.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    for words in (
        "Supernet accuracy during the search",
        "Skip connections",
        "Retraining",
        "ranking.png",
        "genotype.png",
    ):
        assert words in page, words
    graph = pipeline.dvc("dag")
    assert set(re.findall(r"[a-z_]+", graph)) >= ALL
    assert pipeline.git("status", "--porcelain", "--untracked-files=all").count("dvc_plots") == 0


def test_b_switching_back_restores_without_running(pipeline: Pipeline) -> None:
    pipeline.change(search__method="darts")
    assert ran(pipeline.dvc("repro")) == set()
    assert pipeline.up_to_date()
    assert (pipeline.folder / "data/search/final.safetensors").is_file()
