"""A file of hostile YAML is refused at once, and every value of a good one knows its line."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from nascommon.config import load_params
from nascommon.runtime.yaml_lines import read_yaml
from nascommon.settings import UserError
from tests.stages.bad_params import TEXTS, Text


def read(folder: Path, content: bytes) -> tuple[object, object]:
    path = folder / "params.yaml"
    path.write_bytes(content)
    return read_yaml(path)


def test_every_key_and_entry_knows_its_line(tmp_path: Path) -> None:
    tree, lines = read(tmp_path, b"a:\n  b: [1,\n    x]\n  c: {d: 3e-4}\n")
    assert tree == {"a": {"b": [1, "x"], "c": {"d": 3e-4}}}
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 2, ("a", "b", 1): 3, ("a", "c"): 4, ("a", "c", "d"): 4}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n")[0] == {"a": 1}


def test_a_string_of_an_architecture_without_quotes_is_told_how_to_stand(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"params.yaml:2: not YAML: .*stands in quotes: '\|nor_conv_3x3~0\|\+\|none~0\|'$"
    ):
        read(tmp_path, b"discretize:\n  genotype: |nor_conv_3x3~0|+|none~0|\n")
    with pytest.raises(UserError, match=r"params.yaml:1: not YAML: (?!.*quotes)"):
        read(tmp_path, b"a: [1")


def test_an_alias_is_what_it_stands_for(tmp_path: Path) -> None:
    assert read(tmp_path, b"a: &x [1, 2]\nb: *x\nc: *x\n")[0] == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_a_hostile_file_is_refused_in_a_second_and_a_few_words(tmp_path: Path, text: Text) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.content)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert time.process_time() - began < 2
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) <= 1000
    assert len(lines) <= 51


def test_a_file_without_end_is_refused() -> None:
    if not os.path.exists("/dev/zero"):  # noqa: PTH110 -- a device, not a file of ours
        pytest.skip("the system has no /dev/zero")
    with pytest.raises(UserError, match=r"^/dev/zero: is larger than 256 KiB"):
        read_yaml(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["a" * 300, "/".join(["b" * 200] * 30)])
def test_a_path_longer_than_the_system_allows_is_one_line(name: str) -> None:
    complaint = r"^[ab/]+.*: cannot be read \(File name too long\); copy a file of presets/"
    with pytest.raises(UserError, match=complaint) as caught:
        read_yaml(Path(name))
    assert len(str(caught.value)) <= 1000


def test_of_thousands_of_unknown_keys_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(2000)), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert any(line.startswith(f"{path}:2: key1: unknown key") for line in lines)
    assert re.fullmatch(r"\.\.\. and 19\d\d more", lines[-1])
