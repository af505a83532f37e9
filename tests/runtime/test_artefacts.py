"""A file is the old one or the new one, never a part, and a bad one is refused by name."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from nascommon.runtime import artefacts
from nascommon.settings import UserError
from tests.runtime.full import files_of_at_most

Write = Callable[[Path], None]
Read = Callable[[Path], object]
TABLE = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25], "phase": ["warmup", "search"]})
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}

FORMATS = pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.json", lambda path: artefacts.write_json(path, {"a": [1, 2]}), artefacts.read_json),
        ("a.safetensors", lambda path: artefacts.write_tensors(path, TENSORS), artefacts.read_tensors),
    ],
    ids=["json", "safetensors"],
)


@pytest.fixture
def umask() -> Any:
    """Set the umask of this process for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@FORMATS
def test_where_nothing_more_can_be_written_the_file_is_named_and_the_old_one_stays(
    tmp_path: Path, name: str, write: Write, read: Read
) -> None:
    path = tmp_path / name
    write(path)
    old = path.read_bytes()
    with files_of_at_most(5), pytest.raises(UserError) as caught:
        write(path)
    assert re.fullmatch(
        rf"{re.escape(str(path))}: cannot be written \(.*File too large.*\); .*again", str(caught.value)
    )
    assert path.read_bytes() == old
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("place", "reason"), [("file/a.json", "Not a directory|File exists"), ("a" * 300, "File name too long")]
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=rf"{place}: cannot be written \(({reason})\)"):
        artefacts.write_json(tmp_path / place, {})
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path, umask: Any, mask: int, mode: int) -> None:
    umask(mask)
    artefacts.write_text(tmp_path / "a.txt", "a")
    artefacts.write_tensors(tmp_path / "a.safetensors", TENSORS)
    artefacts.write_table(tmp_path / "a.parquet", TABLE)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {mode}
    assert umask(0o022) == mask, "the umask of the process is as it was"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    artefacts.write_bytes(tmp_path / "a" / "b" / "c.bin", b"\0\n\r")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\0\n\r"


def test_text_and_json_are_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    artefacts.write_text(tmp_path / "a.txt", "α\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xce\xb1\n"
    artefacts.write_json(tmp_path / "a.json", {"α": 1})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "\xce\xb1": 1\n}\n'


def test_json_comes_back_equal(tmp_path: Path) -> None:
    tree = {"name": "α", "numbers": [0.1, 1e-300, -7, 2**63], "none": None, "nested": {"yes": True}}
    for content in (tree, [tree, []], "α\n", {}, None):
        artefacts.write_json(tmp_path / "a.json", content)
        assert artefacts.read_json(tmp_path / "a.json") == content
        plain = json.dumps(content, indent=2, ensure_ascii=False)
        assert (tmp_path / "a.json").read_text(encoding="utf-8") == f"{plain}\n"


def test_json_keeps_names_of_files_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    artefacts.write_json(tmp_path / "a.json", [name])
    assert artefacts.read_json(tmp_path / "a.json") == [name]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_numbers_that_json_lacks_and_keeps_the_old_file(tmp_path: Path, number: float) -> None:
    path = tmp_path / "a.json"
    artefacts.write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        artefacts.write_json(path, {"loss": [number]})
    assert artefacts.read_json(path) == {"loss": 1.0}
    assert names(tmp_path) == ["a.json"]


def test_tensors_come_back_equal(tmp_path: Path) -> None:
    artefacts.write_tensors(tmp_path / "a.safetensors", TENSORS)
    loaded = artefacts.read_tensors(tmp_path / "a.safetensors")
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_views_and_parameters_are_written_as_plain_tensors(tmp_path: Path) -> None:
    tensors = {"turned": TENSORS["a"].t(), "learned": torch.nn.Parameter(torch.ones(2))}
    artefacts.write_tensors(tmp_path / "a.safetensors", tensors)
    loaded = artefacts.read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(loaded["turned"], TENSORS["a"].t())
    assert not loaded["learned"].requires_grad


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_comes_back_equal_and_without_an_index(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    artefacts.write_table(path, TABLE.set_index(pd.Index([7, 8])))
    pd.testing.assert_frame_equal(pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path), TABLE)


def test_the_suffix_decides_the_format_of_a_table(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv"):
        artefacts.write_table(tmp_path / name, TABLE)
    assert (tmp_path / "a.parquet").read_bytes().startswith(b"PAR1")
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "epoch,loss,phase"


@FORMATS
def test_a_missing_file_is_named(tmp_path: Path, name: str, write: Write, read: Read) -> None:
    with pytest.raises(UserError, match=r"no such file; run `dvc repro`") as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


@FORMATS
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str, write: Write, read: Read) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / name)


@FORMATS
def test_a_file_torn_anywhere_is_named(tmp_path: Path, name: str, write: Write, read: Read) -> None:
    path = tmp_path / name
    write(path)
    whole = path.read_bytes().rstrip()
    for place in sorted({0, 1, 3, 4, 7, 8, 9, len(whole) // 2, len(whole) - 4, len(whole) - 1}):
        path.write_bytes(whole[:place])
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: not a"), place


@FORMATS
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str, write: Write, read: Read) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: not a")


def test_a_digest_is_short_and_follows_the_values_not_the_order_of_keys() -> None:
    assert artefacts.digest({"a": 1, "b": 2}, "x") == artefacts.digest({"b": 2, "a": 1}, "x")
    assert artefacts.digest(1, 2) != artefacts.digest(2, 1)
    assert artefacts.digest("1") != artefacts.digest(1)
    assert artefacts.digest({"a": [1, 2.5, None, "x"]}) == "273690c67fd4e817"
