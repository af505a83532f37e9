"""A folder is read whole and in order, and a link that leads back ends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.data.walk import files_below, folders_in, has_pictures, holds_pictures, is_picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("b.png", "a.txt", ".hidden.png", "x/deep/1.JPG", "x/0.txt", ".git/no.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def test_own_files_come_first_then_folder_by_folder_and_nothing_hidden(tree: Path) -> None:
    assert list(files_below(tree)) == ["a.txt", "b.png", "x/0.txt", "x/deep/1.JPG"]
    assert folders_in(tree) == ["x"]


def test_pictures_are_known_by_their_suffix_and_by_where_they_lie(tree: Path) -> None:
    assert is_picture("1.JPG")
    assert not is_picture("png")
    assert holds_pictures(tree)
    assert not holds_pictures(tree / "x")
    assert has_pictures(tree / "x")
    (tree / "x/deep/1.JPG").unlink()
    assert not has_pictures(tree / "x")


def test_a_link_that_leads_back_is_given_as_a_file(tree: Path) -> None:
    (tree / "x/deep/up").symlink_to(tree)
    (tree / "self").symlink_to(tree)
    (tree / "loop.png").symlink_to("loop.png")
    assert list(files_below(tree)) == ["a.txt", "b.png", "loop.png", "self", "x/0.txt", "x/deep/1.JPG", "x/deep/up"]
    assert folders_in(tree) == ["x"]
    (tree / "x/deep/1.JPG").unlink()
    assert not has_pictures(tree / "x")
    assert list(files_below(tree / "x")) == ["0.txt", "deep/up"]  # not the pictures of the whole tree


def test_two_folders_that_link_to_each_other_end(tree: Path) -> None:
    other = tree.parent / "other"
    other.mkdir()
    (other / "back").symlink_to(tree / "x")
    (tree / "x/away").symlink_to(other)
    assert [name for name in files_below(tree) if "away" in name] == ["x/away/back"]


def test_a_link_elsewhere_is_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/c.png").write_bytes(b"")
    (tree / "y").symlink_to(tmp_path / "far")
    assert "y/c.png" in list(files_below(tree))
    assert folders_in(tree) == ["x", "y"]
