"""Stages shared by ranks, as a user starts them: torchrun by hand, or `launch` in params.yaml."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nascommon.config import load_params
from nascommon.runtime import launching
from nascommon.runtime.launching import on_ranks
from tests.stages import project as projects
from tests.stages.project import ROOT, CommandResult, Project, lines_until

pytestmark = pytest.mark.slow
PATIENCE = 300
"""Seconds; several processes load PyTorch at the same time."""
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "PATIENCE", PATIENCE)


def started(project: Project, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a module with arguments."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", *words], cwd=project.folder, env=project.environment(ROOT, **environment),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def children(starter: subprocess.Popen[str], count: int = 2) -> list[psutil.Process]:
    """Return so many children of a process as soon as it has them."""
    ends = time.monotonic() + PATIENCE
    found: list[psutil.Process] = []
    while len(found) < count:
        assert time.monotonic() < ends, "no ranks were started"
        found = psutil.Process(starter.pid).children()
    return found


def torchrun(project: Project, stage: str, count: int = 2) -> CommandResult:
    """Run a stage on so many ranks by torchrun."""
    process = started(project, *TORCHRUN, str(count), "-m", f"stages.{stage}")
    out, err = process.communicate(timeout=PATIENCE)
    return CommandResult(process.returncode, out, err)


@pytest.mark.parametrize("stage", ["search", "retrain", "transfer"])
def test_torchrun_shares_a_stage(searched: Project, stage: str) -> None:
    ended = torchrun(searched, stage)
    assert ended.status == 0, ended.err
    epochs = [line.split("  ")[0] for line in ended.out.splitlines() if line.startswith(f"{stage} epoch ")]
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


@pytest.mark.parametrize("by", ["launch", "torchrun"])
def test_ranks_end_with_who_started_them_before_they_have_met(searched: Project, by: str) -> None:
    searched.change(launch=2)
    words = ["stages.retrain"] if by == "launch" else [*TORCHRUN, "2", "-m", "stages.retrain"]
    with started(searched, *words) as process:
        ranks = children(process)
        process.kill()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    for left in alive:
        left.kill()
    assert alive == []


def test_ranks_with_other_settings_are_told_which(searched: Project, tmp_path: Path) -> None:
    other = searched.copy(tmp_path / "other").change(retrain__training__lr=0.5)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(probe.getsockname()[1])}
    ranks = [
        started(project, "stages.retrain", RANK=str(rank), **meeting) for rank, project in enumerate((searched, other))
    ]
    told = "".join(rank.communicate(timeout=PATIENCE)[1] for rank in ranks)
    assert [rank.returncode for rank in ranks] == [2, 2]
    assert {*told.splitlines()} == {
        "error: retrain.training.lr: rank 1 of 2 has 0.5 where rank 0 has 0.1; give all ranks the same params.yaml"
    }


@pytest.mark.parametrize(
    ("fault", "rank", "lines"),
    [
        ("diverges", 1, ["error: params.yaml: retrain diverged, train_loss is nan after epoch 2; lower "]),
        ("full disk", 0, ["error: .checkpoints/retrain/", "state.ckpt: cannot be written (File too large); mend that"]),
    ],
)
def test_what_one_rank_alone_meets_ends_all_in_one_line(
    searched: Project, fault: str, rank: int, lines: list[str]
) -> None:
    searched.change(launch=2)
    process = started(searched, "tests.stages.faulty_rank", FAULT=fault, FAULTY=str(rank))
    ranks = children(process)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, len(err.splitlines())) == (2, 1), err
    assert all(part in err for part in lines)
    assert psutil.wait_procs(ranks, timeout=20)[1] == []
    assert len([path for path in searched.checkpoints() if path.suffix == ".ckpt"]) == 1


def test_a_fault_of_one_rank_is_one_traceback(searched: Project) -> None:
    searched.change(launch=2)
    process = started(searched, "tests.stages.faulty_rank", FAULT="raises", FAULTY="1")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.count("Traceback (most recent call last)") == err.count("RuntimeError: a fault of this rank") == 1


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "stopped; `dvc repro` continues from the last finished epoch\n"),
        (signal.SIGTERM, 2, "error: ended by SIGTERM. What is finished is kept, and the next run goes on from there\n"),
    ],
)
def test_a_signal_ends_all_ranks_in_one_line(searched: Project, number: int, status: int, said: str) -> None:
    # The signal comes to the loader processes of each rank, too, which begin anew with every epoch.
    searched.change(data__storage="files", data__size=8, data__workers=2).stage("prepare")
    process = searched.change(launch=2, retrain__training__epochs=400).start("retrain")
    lines_until(process, "retrain epoch   1/400")
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (status, said)
    assert psutil.wait_procs(ranks, timeout=20)[1] == []


def test_one_process_is_started_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_launch", lambda _: pytest.fail("started"))
    done = []
    on_ranks(1, lambda: done.append(time.monotonic()), {})
    assert len(done) == 1
