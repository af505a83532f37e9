"""A file is the old one or the new one, never a part, whatever happens in the middle of writing it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nascommon.runtime import artefacts
from nascommon.runtime.atomic import atomic


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def break_off(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("broken off")


def test_an_exception_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    artefacts.write_text(path, "old")
    with pytest.raises(RuntimeError, match="broken off"):
        break_off(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_ctrl_c_in_the_middle_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_until_it_is_whole_the_new_file_has_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    artefacts.write_text(path, "old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".parquet"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.parquet"]


def test_what_a_killed_process_left_goes_with_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "a[1].csv"
    if not (child := os.fork()):
        with atomic(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = names(tmp_path)
    assert left == f".a[1].{child}.part.csv"
    (tmp_path / f".a[1].{os.getppid()}.part.csv").write_text("of one who is still at it")
    artefacts.write_text(path, "new")
    assert names(tmp_path) == [f".a[1].{os.getppid()}.part.csv", "a[1].csv"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((os.fstat(handle).st_size, path.exists())))
    artefacts.write_text(path, "seven..")
    assert seen == [(7, False)]
