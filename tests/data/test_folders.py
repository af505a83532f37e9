"""Folders of pictures: both layouts, every mistake named, nothing skipped in silence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nascommon.data import storing
from nascommon.data.prepared import Prepared
from nascommon.settings import UserError

Make = Callable[..., Prepared]
Draw = Callable[..., None]


def divided(folder: Path, test: str = "val") -> Path:
    """Move the class folders into train and one picture of each into ``test``."""
    for name in ("cat", "dog"):
        (folder / "train").mkdir(exist_ok=True)
        (folder / name).rename(folder / "train" / name)
        (folder / test / name).mkdir(parents=True)
        last = max((folder / "train" / name).iterdir())
        last.rename(folder / test / name / last.name)
    return folder


def emptied(folder: Path) -> None:
    for file in (folder / "cat").iterdir():
        file.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-80])


def deep(path: Path) -> None:
    Image.new("I;16", (8, 8)).save(path)


def moving(path: Path) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def few(folder: Path) -> None:
    for file in sorted((folder / "cat").iterdir())[2:]:
        file.unlink()


MISTAKES: list[tuple[str, Callable[[Path, Draw], object], dict[str, Any], str]] = [
    ("no folder", lambda f, d: shutil.rmtree(f), {}, r"data\.path: .*pictures is not a folder"),
    ("zero bytes", lambda f, d: (f / "cat/00.png").write_bytes(b""), {}, r"cat/00\.png: is empty \(0 bytes\)"),
    ("no picture", lambda f, d: (f / "cat/00.png").write_text("hello"), {}, r"cat/00\.png: is not a readable"),
    ("truncated", lambda f, d: truncated(f / "cat/00.png"), {}, r"cat/00\.png: cannot be decoded"),
    ("16 bits", lambda f, d: deep(f / "cat/00.png"), {}, r"cat/00\.png: has more than 8 bits"),
    ("animated", lambda f, d: moving(f / "cat/aa.gif"), {}, r"cat/aa\.gif: holds several frames"),
    ("empty class", lambda f, d: emptied(f), {}, r"class folders without pictures: cat"),
    ("unknown class", lambda f, d: None, {"classes": ["cat", "cow"]}, r"no folder for cow .*there are cat; dog"),
    ("one class", lambda f, d: shutil.rmtree(f / "dog"), {}, r"needs at least 2 class folders .*got 1: cat"),
    ("few pictures", lambda f, d: few(f), {}, r"at least 3 pictures to be split: cat has 2"),
    ("small limit", lambda f, d: None, {"limit": 3}, r"data\.limit: 2 classes need at least 4"),
    ("two sizes", lambda f, d: d(f / "dog/x.png", width=9), {}, r"cat/00\.png is 8 x 8 and dog/x\.png is 8 x 9"),
    ("flat colour", lambda f, d: flat(f), {}, "one flat colour"),
    ("only in val", lambda f, d: d(divided(f) / "val/cow/x.png"), {}, r"train lacks, cow; add .*\(cat; dog\)"),
    ("not in val", lambda f, d: shutil.rmtree(divided(f) / "val/cat"), {}, r"train: lacks cat; give the folders"),
    ("val alone", lambda f, d: shutil.rmtree(divided(f) / "train"), {}, r"has val but no train"),
    ("flat val", lambda f, d: spill(divided(f)), {"source": "imagenet", "size": 8}, "no val folder here is sorted"),
    ("no val", lambda f, d: shutil.rmtree(divided(f) / "val"), {"source": "imagenet", "size": 8}, "no val folder here"),
]  # fmt: skip


def flat(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        Image.new("RGB", (8, 8), "red").save(file)


def spill(folder: Path) -> None:
    for file in list((folder / "val").rglob("*.png")):
        file.rename(folder / "val" / file.name)
    for name in ("cat", "dog"):
        (folder / "val" / name).rmdir()


@pytest.mark.parametrize(
    ("mistake", "settings", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_named(
    folder: Path,
    draw: Draw,
    make: Make,
    mistake: Callable[[Path, Draw], object],
    settings: dict[str, Any],
    message: str,
) -> None:
    mistake(folder, draw)
    with pytest.raises(UserError, match=message):
        make(**({"source": "image_folder", "path": str(folder)} | settings))


def test_at_most_five_offenders_are_listed_and_all_are_counted(folder: Path, make: Make) -> None:
    for number in range(6):
        (folder / f"cat/{number:02d}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"6 of 12 pictures cannot be used: .*00.*04.*; and 1 more$"):
        make(source="image_folder", path=str(folder))


def test_a_folder_that_may_not_be_read_is_named(folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def denied(path: Path) -> Any:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("nascommon.data.walk.os.scandir", denied)
    with pytest.raises(UserError, match=r"dog: cannot be read \(Permission denied\)"):
        make(source="image_folder", path=str(folder))


def test_files_that_are_no_pictures_are_reported_in_one_line_and_hidden_ones_ignored(folder: Path, make: Make) -> None:
    for name in ("notes.txt", "cat/Thumbs.db", ".DS_Store", "cat/.hidden.png"):
        (folder / name).write_text("x")
    lines: list[str] = []
    prepared = make(source="image_folder", path=str(folder), report=lines.append)
    assert len(prepared.part("train")) + len(prepared.part("test")) == 12
    told = [line for line in lines if "no pictures" in line]
    assert len(told) == 1
    assert "2 files" in told[0]
    assert "notes.txt" in told[0]
    assert "Thumbs.db" in told[0]


@pytest.mark.parametrize("test", ["val", "test"])
def test_a_test_folder_of_its_own_is_used_as_it_is(folder: Path, make: Make, test: str) -> None:
    prepared = make(source="image_folder", path=str(divided(folder, test)), storage="files", size=8)
    assert list(prepared.part("test").samples.names) == [f"{test}/cat/05.png", f"{test}/dog/11.png"]  # type: ignore[attr-defined]  # files
    assert len(prepared.part("train")) == 10


def test_test_wins_over_val_which_is_reported_as_left_aside(folder: Path, draw: Draw, make: Make) -> None:
    draw(divided(folder, "test") / "val/cat/x.png")
    lines: list[str] = []
    make(source="image_folder", path=str(folder), report=lines.append)
    assert any("left aside: val" in line for line in lines)


def test_classes_restrict_and_order_both_folders(folder: Path, draw: Draw, make: Make) -> None:
    root = divided(folder)
    for name in ("train/cow/a.png", "train/cow/b.png", "val/cow/c.png"):
        draw(root / name)
    prepared = make(source="image_folder", path=str(root), classes=["dog", "cat"])
    assert prepared.manifest.classes == ("dog", "cat")
    assert prepared.manifest.counts["test"] == {"dog": 1, "cat": 1}


def test_pictures_in_folders_within_a_class_belong_to_it(folder: Path, draw: Draw, make: Make) -> None:
    draw(folder / "cat/kittens/k.JPEG")
    counts = make(source="image_folder", path=str(folder)).manifest.counts
    assert sum(part["cat"] for part in counts.values()) == 7


def test_imagenet_streams_and_uses_the_published_moments(folder: Path, make: Make) -> None:
    prepared = make(source="imagenet", path=str(divided(folder)), size=8)
    assert prepared.manifest.storage == "files"
    assert prepared.manifest.mean == (0.485, 0.456, 0.406)
    assert (prepared.manifest.channels, prepared.manifest.height) == (3, 8)


def test_a_folder_too_large_for_memory_is_streamed_and_asks_for_a_size(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"source": "image_folder", "path": str(folder)}
    assert make(**settings).manifest.storage == "memory"
    monkeypatch.setattr(storing, "LARGEST_IN_MEMORY", 12 * 3 * 8 * 8 - 1)
    assert make(**settings, size=8).manifest.storage == "files"
    with pytest.raises(UserError, match=r"data\.size: .*streamed and need one side"):
        make(**settings)
