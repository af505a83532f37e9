"""The check looks at the folder too, and no estimate is made of what other settings have prepared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nascommon.data.preparing import is_prepared, prepare
from nascommon.data.settings import DataSettings
from nascommon.pipeline.unprepared import expected_shape, listed_folder
from nascommon.settings import UserError
from tests.stages.bad_projects import picture
from tests.stages.project import ROOT, SMOKE, Project, new_project


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    yield
    listed_folder.cache_clear()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for number in range(20):
        picture(root / ("train" if number < 16 else "val") / "ab"[number % 2] / f"{number}.png", 12, number=number)
    return root


def checked(folder: Path, *edits: tuple[str, str]) -> list[str]:
    """Return what the check says of the smoke preset with these edits, without the name of the file."""
    project = new_project(folder / "project")
    text = SMOKE.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    project.params.write_text(text, encoding="utf-8")
    result = project.command("check", "--no-estimate")
    assert (result.status, result.out) == (2, "")
    return [line.split("params.yaml:", 1)[1] for line in result.err.splitlines()]


def line(key: str, *edits: tuple[str, str]) -> int:
    """The line of a key in the smoke preset with these edits."""
    text = SMOKE.read_text(encoding="utf-8")
    for old, new in edits:
        text = text.replace(old, new, 1)
    return text[: text.index(key)].count("\n") + 1


FOLDER = ("source: digits\n  test_fraction: 0.25", "source: image_folder\n  path: nowhere\n  size: 8")


def test_a_missing_folder_is_told_together_with_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    edits = (
        FOLDER,
        ("limit: 160", "limits: 160"),
        ("method: darts", "method: drats"),
        ("source: digits\n    storage: files", "source: image_folder\n    path: elsewhere\n    storage: files"),
        ("discretize: {", "discretize: {genotype: NONE, "),
    )
    found = [(int(row.split(": ")[0]), ": ".join(row.split(": ")[1:3])[:60]) for row in checked(tmp_path, *edits)]
    assert found == [
        (line("path: nowhere", *edits), "data.path: nowhere is not a folder; name the folder that hol"),
        (line("limits:", *edits), "data.limits: unknown key; did you mean 'limit'? Known are so"),
        (line("method: drats", *edits), "search.method: unknown method; did you mean 'darts'? Known a"),
        (line("discretize:", *edits), "discretize.genotype: NONE"),
        (line("path: elsewhere", *edits), "transfer.data.path: elsewhere is not a folder; name the fold"),
    ]


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (lambda root: (root / "train/c").mkdir(), "", r"data\.path: .*class folders without pictures: c;"),
        (lambda root: picture(root / "train/c/1.png"), "", r"data\.path: .*lacks c;"),
        (lambda root: None, "classes: [a, c]", r"data\.classes: no folder for c in .*; there are a; b"),
        (lambda root: None, "train_folder: learn", r"data\.train_folder: .*learn is not a folder"),
        (lambda root: None, "limit: 3", r"data\.limit: 2 classes need at least 4 training pictures"),
        (lambda root: picture(root / "test/a/1.png"), "classes: [a, b]", r"data\.path: .*test: .*lacks b"),
    ],
)
def test_what_prepare_would_refuse_of_a_folder_is_told_by_the_check(
    tmp_path: Path, pictures: Path, spoil: Callable[[Path], None], more: str, message: str
) -> None:
    spoil(pictures)
    new = f"source: image_folder\n  path: {pictures}\n  size: 8\n  {more}"
    (result,) = checked(tmp_path, ("source: digits\n  test_fraction: 0.25\n  limit: 160", new))
    assert re.search(message, result), result


SETS: tuple[dict[str, Any], ...] = (
    {"source": "digits"},
    {"source": "digits", "limit": 100, "channels": 3, "size": 16},
    {"source": "digits", "limit": 100, "storage": "files", "size": 32},
    {"source": "image_folder"},
    {"source": "image_folder", "size": 8, "channels": 1},
    {"source": "image_folder", "size": 8, "storage": "files", "limit": 10},
    {"source": "imagenet", "size": 8},
)


@pytest.mark.parametrize("asked", SETS, ids=str)
def test_the_shape_is_known_before_and_is_that_of_what_is_prepared(
    tmp_path: Path, pictures: Path, asked: dict[str, Any]
) -> None:
    settings = DataSettings.model_validate(asked | ({} if asked["source"] == "digits" else {"path": str(pictures)}))
    before = expected_shape(settings, tmp_path / "prepared")
    prepare(settings, 0, tmp_path / "prepared", report=lambda _line: None)
    assert is_prepared(settings, tmp_path / "prepared")
    assert expected_shape(settings, tmp_path / "prepared") == before


def test_what_another_preset_has_prepared_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    smoke, laptop = (DataSettings(source="digits", limit=limit) for limit in (160, None))
    prepare(smoke, 0, tmp_path, report=lambda _line: None)
    assert expected_shape(smoke, tmp_path).images == 160
    assert expected_shape(laptop, tmp_path).images == 1438


def test_a_folder_that_cannot_be_used_has_no_shape(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path: nowhere is not a folder"):
        expected_shape(DataSettings(source="image_folder", path="nowhere"), tmp_path)


@pytest.mark.slow
def test_the_check_of_own_pictures_needs_nothing_prepared(tmp_path: Path, pictures: Path) -> None:
    project: Project = new_project(tmp_path / "project").change(
        data={"source": "image_folder", "path": str(pictures)}, transfer__data=None
    )
    result = project.command("check")
    assert result.status == 0, result.err
    assert "estimate for" in result.out


def test_the_preset_of_own_pictures_is_whole_but_for_the_path(tmp_path: Path, pictures: Path) -> None:
    project = new_project(tmp_path / "project", ROOT / "presets" / "own-pictures.yaml")
    result = project.command("check", "--no-estimate")
    assert re.fullmatch(r"error: params\.yaml:\d+: data\.path: pictures is not a folder; .*\n", result.err)
    pictures.rename(project.folder / "pictures")
    assert project.command("check", "--no-estimate").status == 0
    assert project.command("prepare").status == 0
    assert project.json("data/prepared/target/manifest.json")["classes"] == ["a", "b"]


def test_a_torn_bank_is_told_before_a_search_is_paid_for(tmp_path: Path) -> None:
    bank = tmp_path / "mine.csv"
    named = ("baseline: {architectures: 2}", f"baseline: {{architectures: 2, bank: {bank}}}")
    bank.write_text("# {", encoding="utf-8")
    (line,) = checked(tmp_path, named)
    assert re.search(r"baseline\.bank: .*mine\.csv: row 1: not the head of a bank", line)
