"""A checkpoint is taken up whole and by its own work, or not at all; and reading it runs no code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.runtime.checkpoint import FORMAT, Checkpoint, CheckpointFolder, Identity
from nascommon.settings import UserError

STATE: dict[str, Any] = {
    "epoch": 3,
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])},
    "history": [{"loss": 0.5, "phase": "warmup"}, {"loss": None, "phase": "search"}],
}


class Reports(list[str]):
    """Collects what a checkpoint reports."""

    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def checkpoint(tmp_path: Path, reports: Reports) -> Checkpoint:
    return Checkpoint(tmp_path / "search.ckpt", "f00d", reports)


def assert_refused(checkpoint: Checkpoint, reports: Reports, content: bytes, *words: str) -> None:
    """The file is not taken up, is kept aside as it was, and one line says so."""
    assert checkpoint.load() is None
    aside = checkpoint.path.with_name(checkpoint.path.name + ".refused")
    assert not checkpoint.path.exists()
    assert aside.read_bytes() == content
    assert len(reports) == 1
    for word in (str(checkpoint.path), aside.name, *words):
        assert word in reports[0]


def test_what_was_saved_is_loaded(checkpoint: Checkpoint, reports: Reports) -> None:
    checkpoint.save(STATE)
    loaded = checkpoint.load()
    assert loaded is not None
    weights, wanted = loaded.pop("weights"), STATE["weights"]
    assert loaded == {"epoch": 3, "history": STATE["history"]}
    assert weights.keys() == wanted.keys()
    for name in wanted:
        assert weights[name].dtype == wanted[name].dtype
        assert torch.equal(weights[name], wanted[name])
    assert reports == []


def test_the_state_of_an_optimizer_survives(checkpoint: Checkpoint) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    checkpoint.save({"optimizer": optimizer.state_dict()})
    loaded = checkpoint.load()
    assert loaded is not None
    assert torch.equal(loaded["optimizer"]["state"][0]["exp_avg"], optimizer.state[parameter]["exp_avg"])


def test_without_a_file_nothing_is_loaded_or_reported(checkpoint: Checkpoint, reports: Reports) -> None:
    assert checkpoint.load() is None
    assert reports == []


def test_the_latest_state_replaces_the_one_before(checkpoint: Checkpoint) -> None:
    checkpoint.save({"epoch": 1})
    checkpoint.save({"epoch": 2})
    assert checkpoint.load() == {"epoch": 2}
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["search.ckpt"]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999])
def test_a_torn_file_is_refused(checkpoint: Checkpoint, reports: Reports, part: float) -> None:
    checkpoint.save(STATE)
    whole = checkpoint.path.read_bytes()
    torn = whole[: int(len(whole) * part)]
    checkpoint.path.write_bytes(torn)
    assert_refused(checkpoint, reports, torn)


def test_a_file_torn_at_any_of_its_first_and_last_bytes_is_refused(checkpoint: Checkpoint, reports: Reports) -> None:
    checkpoint.save({"epoch": 1})
    whole = checkpoint.path.read_bytes()
    places = [*range(0, 250, 7), *range(whole.index(b"\n") - 1, whole.index(b"\n") + 3), *range(-9, 0)]
    for place in places:
        checkpoint.path.write_bytes(whole[:place])
        assert checkpoint.load() is None, place
    assert len(reports) == len(places)


def test_a_changed_byte_is_noticed(checkpoint: Checkpoint, reports: Reports) -> None:
    checkpoint.save(STATE)
    content = bytearray(checkpoint.path.read_bytes())
    content[-len(content) // 2] ^= 1
    checkpoint.path.write_bytes(content)
    assert_refused(checkpoint, reports, bytes(content), "torn")


def test_bytes_at_the_end_are_noticed(checkpoint: Checkpoint, reports: Reports) -> None:
    checkpoint.save(STATE)
    content = checkpoint.path.read_bytes() + b"\0"
    checkpoint.path.write_bytes(content)
    assert_refused(checkpoint, reports, content, "torn")


def test_a_state_of_other_settings_is_refused(checkpoint: Checkpoint, reports: Reports) -> None:
    Checkpoint(checkpoint.path, "beef").save(STATE)
    assert_refused(checkpoint, reports, checkpoint.path.read_bytes(), "other settings, data or code")


def test_another_format_is_refused_by_name(checkpoint: Checkpoint, reports: Reports) -> None:
    checkpoint.save(STATE)
    content = checkpoint.path.read_bytes().replace(FORMAT.encode(), b"gapless-checkpoint-0", 1)
    checkpoint.path.write_bytes(content)
    assert_refused(checkpoint, reports, content, "gapless-checkpoint-0", FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[]\n",
        b"null\n",
        b'"text"\n',
        b"{}\n",
        b"7\n",
        b"\xff\xfe\n\0",
        b"PK\x03\x04 what torch.save wrote",
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(checkpoint: Checkpoint, reports: Reports, content: bytes) -> None:
    checkpoint.path.write_bytes(content)
    assert_refused(checkpoint, reports, content, "not a checkpoint of this program")


class Attack:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("pickled", ["torch", "pickle"])
def test_code_inside_a_valid_file_is_refused_and_never_runs(
    checkpoint: Checkpoint, reports: Reports, tmp_path: Path, pickled: str
) -> None:
    attacked = tmp_path / "attacked"
    if pickled == "torch":
        checkpoint.save({"epoch": 1, "attack": Attack(attacked)})
    else:
        payload = pickle.dumps(Attack(attacked), protocol=2)
        header = {"format": FORMAT, "fingerprint": "f00d", "sha256": hashlib.sha256(payload).hexdigest()}
        checkpoint.path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    content = checkpoint.path.read_bytes()
    assert_refused(checkpoint, reports, content)
    assert not attacked.exists()
    pickle.loads(pickle.dumps(Attack(attacked)))
    assert attacked.exists(), "the attack itself must work, or this test proves nothing"


@pytest.mark.parametrize(("state", "kind"), [([1, 2], "list"), (torch.zeros(2), "Tensor")])
def test_a_file_of_this_program_that_holds_no_state_is_refused(
    checkpoint: Checkpoint, reports: Reports, state: Any, kind: str
) -> None:
    checkpoint.save(state)
    assert_refused(checkpoint, reports, checkpoint.path.read_bytes(), f"it holds a {kind}")


def test_a_foreign_file_nested_beyond_all_measure_is_refused(checkpoint: Checkpoint, reports: Reports) -> None:
    content = b"[" * 100_000 + b"\n"
    checkpoint.path.write_bytes(content)
    assert_refused(checkpoint, reports, content, "not a checkpoint of this program")


# -- what the machine cannot do at present is no fault of the file --

FULL = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory\nmore lines"
AT_PRESENT = [
    (MemoryError(), "MemoryError"),
    (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
    (RuntimeError(FULL), "can't allocate memory"),
    (PermissionError(13, "Permission denied"), "Permission denied"),
    (OSError(24, "Too many open files"), "Too many open files"),
    (OSError(5, "Input/output error"), "Input/output error"),
]


@pytest.mark.parametrize("call", ["pathlib.Path.read_bytes", "torch.load"])
@pytest.mark.parametrize(("error", "words"), AT_PRESENT)
def test_a_good_file_that_cannot_be_read_at_present_stays_and_one_line_says_why(
    checkpoint: Checkpoint,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: Exception,
    words: str,
) -> None:
    def fail(*_arguments: Any, **_more: Any) -> None:
        raise error

    checkpoint.save({"epoch": 1})
    monkeypatch.setattr(call, fail)
    with pytest.raises(UserError) as caught:
        checkpoint.load()
    monkeypatch.undo()
    assert str(checkpoint.path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert checkpoint.load() == {"epoch": 1}
    assert reports == []


def test_ctrl_c_while_reading_leaves_the_file(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    checkpoint.save({"epoch": 1})
    monkeypatch.setattr(torch, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.load()
    monkeypatch.undo()
    assert checkpoint.load() == {"epoch": 1}


def test_after_a_refusal_the_work_saves_again(checkpoint: Checkpoint) -> None:
    checkpoint.path.write_bytes(b"torn")
    assert checkpoint.load() is None
    checkpoint.save({"epoch": 1})
    assert checkpoint.load() == {"epoch": 1}


def test_a_write_that_fails_leaves_the_old_state(
    checkpoint: Checkpoint, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save({"epoch": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"search\.ckpt: cannot be written \(No space left on device\)"):
        checkpoint.save({"epoch": 2})
    monkeypatch.undo()
    assert checkpoint.load() == {"epoch": 1}
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["search.ckpt"]
    assert reports == []


def test_a_state_that_cannot_be_saved_leaves_the_old_one(checkpoint: Checkpoint) -> None:
    checkpoint.save({"epoch": 1})
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        checkpoint.save({"epoch": lambda: 2})
    assert checkpoint.load() == {"epoch": 1}


def test_a_cleared_checkpoint_is_gone_and_may_be_cleared_again(checkpoint: Checkpoint) -> None:
    checkpoint.save(STATE)
    checkpoint.clear()
    checkpoint.clear()
    assert not checkpoint.path.exists()


def test_a_folder_is_made_by_its_first_checkpoint_and_cleared_whole(tmp_path: Path, reports: Reports) -> None:
    folder = CheckpointFolder(tmp_path, "retrain", "f00d", reports)
    first, second = folder.file("seed-0"), folder.file("seed-1")
    assert first.load() is None
    assert list(tmp_path.iterdir()) == []
    first.save({"epoch": 1})
    second.save({"epoch": 2})
    assert first.load() == {"epoch": 1}
    assert first.path == tmp_path / ".checkpoints" / "retrain" / "f00d" / "seed-0.ckpt"
    folder.clear()
    assert not folder.folder.exists()
    folder.clear()


def test_clearing_leaves_the_checkpoints_of_other_settings_and_stages(tmp_path: Path) -> None:
    folders = [CheckpointFolder(tmp_path, stage, key) for stage, key in (("a", "1"), ("a", "2"), ("b", "1"))]
    for folder in folders:
        folder.file("work").save({"epoch": 1})
    folders[0].clear()
    assert [folder.file("work").load() for folder in folders] == [None, {"epoch": 1}, {"epoch": 1}]


def test_refusals_inside_a_folder_go_to_its_reporter(tmp_path: Path, reports: Reports) -> None:
    work = CheckpointFolder(tmp_path, "search", "f00d", reports).file("work")
    work.path.parent.mkdir(parents=True)
    work.path.write_bytes(b"")
    assert_refused(work, reports, b"")


# -- a folder held by one process --

NOW = Identity("settings", "inputs", "code", "2.15")


def folder_of(root: Path, identity: Identity, report: Callable[[str], None] = print) -> CheckpointFolder:
    return CheckpointFolder(root, "search", identity.fingerprint("search"), report)


def left_behind(root: Path, identity: Identity) -> Path:
    """Leave unfinished work, as a killed stage does."""
    folder = folder_of(root, identity)
    with suppress(KeyboardInterrupt), folder.exclusive(identity):
        folder.file("state").save({"epoch": 1})
        raise KeyboardInterrupt
    return folder.folder


def test_work_that_was_refused_or_killed_before_its_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    folder, told = folder_of(tmp_path, NOW), list[str]()
    with suppress(UserError), folder.exclusive(NOW):
        raise UserError("too little memory")
    assert not folder.folder.exists()
    killed = left_behind(tmp_path, replace(NOW, settings="others"))
    (killed / "state.ckpt").unlink()
    with folder_of(tmp_path, NOW, told.append).exclusive(NOW):
        assert told == []
    assert not killed.exists()


def test_finished_work_leaves_nothing_and_broken_off_work_stays(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, NOW)
    assert left_behind(tmp_path, NOW) == folder.folder
    with folder.exclusive(NOW):
        assert folder.file("state").load() == {"epoch": 1}
    assert not folder.folder.exists()


@pytest.mark.parametrize(
    ("change", "told", "stays"),
    [
        ({"settings": "others"}, "other settings", True),
        ({"inputs": "others"}, "other inputs", True),
        ({"code": "other"}, "other code", False),
        ({"code": "other", "torch": "2.11"}, "other code, torch", False),
        ({"settings": "others", "code": "other"}, "other settings, code", True),
    ],
)
def test_work_of_another_kind_is_named_and_what_this_work_supersedes_goes_with_its_end(
    tmp_path: Path, change: dict[str, str], told: str, stays: bool
) -> None:
    other = left_behind(tmp_path, replace(NOW, **change))
    lines: list[str] = []
    with folder_of(tmp_path, NOW, lines.append).exclusive(NOW):
        assert other.is_dir()
    assert lines == [f"{tmp_path}/.checkpoints/search: unfinished work is not taken up: {other.name} ({told})"]
    assert other.is_dir() == stays


def test_nothing_is_said_where_the_work_is_taken_up(tmp_path: Path) -> None:
    left_behind(tmp_path, replace(NOW, settings="others"))
    left_behind(tmp_path, NOW)
    lines: list[str] = []
    with folder_of(tmp_path, NOW, lines.append).exclusive(NOW):
        pass
    assert lines == []


def test_what_nobody_came_back_for_is_forgotten_after_a_month(tmp_path: Path) -> None:
    old, young = (left_behind(tmp_path, replace(NOW, settings=name)) for name in ("old", "young"))
    month_ago = time.time() - 31 * 86_400
    for file in old.iterdir():
        os.utime(file, (month_ago, month_ago))
    with folder_of(tmp_path, NOW, lambda _line: None).exclusive(NOW):
        pass
    assert not old.exists()
    assert young.is_dir()


HOLDER = """
import sys
from nascommon.runtime.checkpoint import CheckpointFolder, Identity
identity = Identity("settings", "inputs", sys.argv[2], "2.15")
folder = CheckpointFolder(__import__("pathlib").Path(sys.argv[1]), "search", identity.fingerprint("search"))
with folder.exclusive(identity):
    folder.file("state").save({"epoch": 1})
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_running_process_keeps_its_folder_and_its_death_lets_go(tmp_path: Path) -> None:
    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), code], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    same, other = start("code"), start("other")
    try:
        folder = folder_of(tmp_path, NOW)
        with pytest.raises(UserError, match="another process does the same work"), folder.exclusive(NOW):
            pass
        same.kill()
        same.wait()
        with folder.exclusive(NOW):
            assert folder.file("state").load() == {"epoch": 1}
        assert (tmp_path / ".checkpoints/search" / replace(NOW, code="other").fingerprint("search")).is_dir()
    finally:
        for process in (same, other):
            process.kill()
            process.communicate()
