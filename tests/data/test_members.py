"""A place in a tar is a path like any other, as long as the tar is there and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.data.members import member_of, place


def test_a_place_is_read_without_its_surroundings(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    shard.write_bytes(b"before|picture|after")
    path = place(str(shard), 7, 7, "some/folder/cat.jpg")
    assert path == f"{shard}/7+7/cat.jpg"
    member = member_of(path)
    assert member is not None
    assert member.read() == b"picture"


def test_what_is_cut_off_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"short")
    member = member_of(f"{tmp_path}/a.tar/3+7/cat.jpg")
    assert member is not None
    with pytest.raises(OSError, match="ends within it, after 2 of 7 bytes"):
        member.read()


def test_folders_of_any_name_stay_folders(tmp_path: Path) -> None:
    folder = tmp_path / "x.tar" / "1+2"
    folder.mkdir(parents=True)
    for path in (f"{folder}/cat.jpg", f"{tmp_path}/a.tar/cat.jpg", f"{tmp_path}/a.tar/1+2/b/cat.jpg", "cat.jpg"):
        assert member_of(path) is None
