"""Stages shared by ranks, as a user starts them: torchrun by hand, or `launch` in params.yaml."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from nascommon.config import load_params
from nascommon.runtime import launching
from nascommon.runtime.launching import on_ranks
from tests.stages import project as projects
from tests.stages.project import ROOT, Project, lines_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 300
"""Seconds; several processes load PyTorch at the same time."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "PATIENCE", PATIENCE)


def torchrun(project: Project, stage: str, count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a stage on so many ranks."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", f"stages.{stage}"],
        cwd=project.folder, env=project.environment(ROOT), capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("stage", ["search", "retrain", "transfer"])
def test_torchrun_shares_a_stage(searched: Project, stage: str) -> None:
    ended = torchrun(searched, stage)
    assert ended.returncode == 0, ended.stderr
    epochs = [line.split("  ")[0] for line in ended.stdout.splitlines() if line.startswith(f"{stage} epoch ")]
    params = load_params(searched.params)
    of = params.method().epochs if stage == "search" else getattr(params, stage).training.epochs
    assert epochs == [f"{stage} epoch {epoch}/{of}" for epoch in range(1, of + 1)]
    told = searched.json("data/search/search.json" if stage == "search" else f"data/{stage}/network.json")
    assert (told if stage == "search" else told["provenance"])["ranks"] == 2
    assert searched.metrics(stage)
    assert searched.checkpoints() == []


def test_a_killed_rank_ends_the_job_in_one_line_and_another_number_goes_on(searched: Project) -> None:
    searched.change(launch=2, retrain__training__epochs=40)
    process = searched.start("retrain")
    lines_until(process, "retrain epoch  2/40")
    second = next(child for child in psutil.Process(process.pid).children() if child.environ().get("RANK") == "1")
    second.kill()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err == (
        "error: rank 1 of 2 was ended by SIGKILL, as happens when memory runs out, and the others with it. What is "
        "finished is kept, and the next run goes on from there\n"
    )
    again = searched.change(launch=3).start("retrain")
    continued = int(lines_until(again, "retrain: continuing after epoch")[-1].split()[-3])
    assert continued >= 2
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 130
    assert err == "stopped; `dvc repro` continues from the last finished epoch\n"


def test_what_all_ranks_find_wrong_is_said_once(searched: Project) -> None:
    (searched.folder / "data" / "discretize" / "genotype.json").unlink()
    ended = searched.change(launch=2).run("retrain")
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert "genotype.json: no such file" in ended.err


def test_ranks_end_with_who_started_them(searched: Project) -> None:
    searched.change(launch=2, retrain__training__epochs=400)
    process = searched.start("retrain")
    lines_until(process, "retrain epoch   1/400")
    ranks = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    _, alive = psutil.wait_procs(ranks, timeout=20)
    assert alive == []


def test_one_process_is_started_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_launch", lambda _: pytest.fail("started"))
    done = []
    on_ranks(1, lambda: done.append(time.monotonic()))
    assert len(done) == 1
