"""However a command ends, the user reads one line, the shell gets a status, and nothing that was finished is lost."""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from stages.cli import run_stage
from tests.runtime.full import files_of_at_most
from tests.stages.project import ROOT, Project

NO_ROOM_ERRORS = Path("/dev/full")


def ended(work: object, monkeypatch: pytest.MonkeyPatch, out: io.TextIOBase | None) -> tuple[int, str]:
    """Run a command that does ``work``; return its status and what it said of errors."""

    def command() -> None:
        work()  # type: ignore[operator]

    err = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["stage"])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    try:
        run_stage(command)
    except SystemExit as end:
        return int(end.code or 0), err.getvalue()
    return 0, err.getvalue()


@pytest.mark.parametrize("flush", [True, False])
def test_an_output_that_takes_no_more_is_one_line(monkeypatch: pytest.MonkeyPatch, flush: bool) -> None:
    if not NO_ROOM_ERRORS.exists():
        pytest.skip("the system has no /dev/full")
    with NO_ROOM_ERRORS.open("w") as out:
        status, result = ended(lambda: print("epoch 1", flush=flush), monkeypatch, out)
    assert status == 2
    assert result == (
        "error: the output: cannot be written (No space left on device); "
        "mend that, then `dvc repro` continues from the last finished epoch\n"
    )


def test_a_closed_output_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        print("epoch 1", flush=True)
        assert not sys.stdout.isatty()

    assert ended(work, monkeypatch, None) == (0, "")


def test_a_file_that_takes_no_more_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "data/x\n.bin")

    status, result = ended(work, monkeypatch, io.StringIO())
    assert status == 2
    assert result.startswith(r"error: data/x\n.bin: cannot be written (Disk quota exceeded); ")
    assert len(result.splitlines()) == 1


def test_no_folder_for_temporary_files_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    status, result = ended(tempfile.gettempdir, monkeypatch, io.StringIO())
    assert status == 2
    assert result == (
        "error: no folder takes temporary files (No usable temporary directory found in []); make room, or set TMPDIR "
        "to one that does\n"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "no more is to be had"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"), "CUDA out of memory. Tried to"),
    ],
)
def test_full_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def work() -> None:
        raise error

    status, result = ended(work, monkeypatch, io.StringIO())
    assert status == 2
    assert result.startswith(f"error: the memory is full ({reason}")
    assert "pieces" in result
    assert len(result.splitlines()) == 1


def test_a_loader_process_that_died_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible \nthat ")

    status, result = ended(work, monkeypatch, io.StringIO())
    assert status == 2
    assert result == (
        "error: a process that decodes pictures has died (DataLoader worker (pid 7) is killed by signal: Bus error), "
        "as happens when memory or /dev/shm runs out; make some free, or set fewer data.workers, and `dvc repro` "
        "continues from the last finished epoch\n"
    )


def test_any_other_failure_of_the_system_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with pytest.raises(OSError, match="Bad file descriptor"):
        ended(work, monkeypatch, io.StringIO())


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_next_run_finishes(prepared: Project) -> None:
    prepared.change(search__watch_every=0, search__snapshots=0)
    with files_of_at_most(20_000):
        result = prepared.command("search")
    assert result.status == 2
    complaint = r"error: \.checkpoints/search/\w+/state\.ckpt: cannot be written \(File too large\); .* run it again\n"
    assert re.fullmatch(complaint, result.err)
    assert not [path for path in prepared.checkpoints() if path.suffix in {".ckpt", ".part"}]
    assert not (prepared.folder / "data/search").exists()
    assert prepared.command("search").status == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage", ["prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate"]
)
def test_every_stage_tells_in_one_line_what_it_cannot_write(finished: Project, stage: str) -> None:
    finished.change(jobs=1)
    with files_of_at_most(1000):
        result = finished.command(stage)
    assert result.status == 2
    assert re.fullmatch(
        r"error: [^\n]*: cannot be written \([^\n]*File too large[^\n]*\); [^\n]* run it again\n", result.err
    )
    assert not list(finished.folder.rglob("*.part*"))


def test_a_command_takes_ctrl_c_back_from_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    exit_on_interrupt = importlib.import_module("stages").exit_on_interrupt
    before = signal.signal(signal.SIGINT, exit_on_interrupt)
    try:
        status, result = ended(lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch, io.StringIO())
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, result) == (130, "stopped; `dvc repro` continues from the last finished epoch\n")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has loaded")
def test_ctrl_c_during_the_imports_ends_without_a_word(tmp_path: Path) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this shell lets its jobs ignore Ctrl-C")
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.search"],
        cwd=tmp_path, env=Project.environment(ROOT),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "libtorch_cpu" not in maps.read_text(encoding="utf-8"):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("stage", "tracking"),
    [
        ("discretize", "http://me:s3cr3t@127.0.0.1:9/?token=t0ken"),
        ("evaluate", "postgresql://me:s3cr3t/t0ken@host/db"),
    ],
)
def test_a_password_reaches_no_file_and_no_line(finished: Project, stage: str, tracking: str) -> None:
    result = finished.change(tracking=tracking).command(stage)
    assert result.status == 0
    assert not re.search("s3cr3t|t0ken", result.out + result.err)
    written = [path for path in finished.folder.rglob("*") if path.is_file() and path != finished.params]
    assert len(written) > 50
    assert not [path for path in written if re.search(b"s3cr3t|t0ken", path.read_bytes())]


def test_a_password_in_a_mistake_is_masked(prepared: Project) -> None:
    text = prepared.params.read_text(encoding="utf-8")
    prepared.params.write_text(text.replace("tracking: none", "tracking: [http://me:s3cr3t@host]"), encoding="utf-8")
    result = prepared.command("search")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "tracking: must be a valid string" in result.err
    assert "s3cr3t" not in result.err


def test_what_a_library_logs_is_masked() -> None:
    program = (
        "import logging; from stages.cli import run_stage\n"
        "run_stage(lambda: logging.getLogger('any').warning('no answer from http://me:s3cr3t@host/?a=1&token=t0ken'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "WARNING: no answer from http://***@host/?a=1&token=***\n"
