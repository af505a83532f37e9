"""Equal pictures are found whatever their files, counted, listed, warned about, and left out where that is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nascommon.data.copies import LISTED, find_copies
from nascommon.data.prepared import Prepared
from nascommon.settings import UserError

Make = Callable[..., Prepared]
Draw = Callable[..., None]
STORAGES = pytest.mark.parametrize("storage", [{}, {"storage": "files", "size": 8}], ids=["memory", "files"])


@pytest.fixture
def apart(tmp_path: Path, draw: Draw) -> Path:
    """Six pictures of each class to train, three others to test; two of the cats and a dog are in both."""
    root = tmp_path / "apart"
    for number in range(18):
        part, label = ("test" if number % 3 == 2 else "train"), ("cat" if number < 9 else "dog")
        draw(root / part / label / f"{number:02d}.png", number=number)
    with Image.open(root / "train/cat/00.png") as image:
        image.save(root / "test/cat/again.bmp")
        image.save(root / "test/cat/and_again.png", compress_level=1)
    shutil.copy(root / "train/dog/09.png", root / "test/dog/copy.png")
    shutil.copy(root / "train/dog/10.png", root / "train/cat/is_a_dog.png")
    return root


@STORAGES
def test_copies_are_counted_listed_and_warned_about(apart: Path, make: Make, storage: dict[str, object]) -> None:
    lines: list[str] = []
    copies = make(source="image_folder", path=str(apart), report=lines.append, **storage).manifest.copies
    assert (copies.in_test, copies.two_labels, copies.dropped) == (3, 2, 0)
    assert copies.listed == (
        ("train train/cat/00.png", "test test/cat/again.bmp", "test test/cat/and_again.png"),
        ("train train/cat/is_a_dog.png", "train train/dog/10.png"),
        ("train train/dog/09.png", "test test/dog/copy.png"),
    )
    (told,) = [line for line in lines if "data.copies" in line]
    assert told.startswith(
        "data: 3 of 9 test pictures are copies of training pictures and 2 pictures are there under more than one label"
        " (all or some of them: train train/cat/00.png = test test/cat/again.bmp = test test/cat/and_again.png; "
    )
    assert told.endswith("data.copies: drop leaves them out of the training pictures")


@STORAGES
def test_dropping_leaves_out_of_training_what_is_in_test_or_has_two_labels(
    apart: Path, make: Make, storage: dict[str, object]
) -> None:
    lines: list[str] = []
    settings = {"source": "image_folder", "path": str(apart), **storage}
    kept, dropped = make(**settings), make(**settings, copies="drop", report=lines.append)
    assert (len(kept.part("train")), len(dropped.part("train")), len(dropped.part("test"))) == (13, 9, 9)
    assert dropped.manifest.copies.dropped == 4
    assert sum(part["cat"] for role, part in dropped.manifest.counts.items() if role != "test") == 5
    assert any(line.endswith("4 training pictures are left out, as data.copies: drop asks") for line in lines)
    assert dropped.manifest.content_hash != kept.manifest.content_hash
    assert make(**settings, copies="drop").manifest.content_hash == dropped.manifest.content_hash


def test_dropping_too_much_is_refused_by_class(apart: Path, make: Make) -> None:
    for file in (apart / "train/cat").iterdir():
        shutil.copy(file, apart / "test/cat" / f"all_{file.name}")
    with pytest.raises(UserError, match=r"every class needs at least 2 pictures to be split: cat has 0"):
        make(source="image_folder", path=str(apart), copies="drop")


def test_headers_alone_find_copies_that_are_equal_files(apart: Path, make: Make) -> None:
    lines: list[str] = []
    settings = {"source": "image_folder", "path": str(apart), "storage": "files", "size": 8, "verify": "headers"}
    copies = make(**settings, report=lines.append).manifest.copies
    assert (copies.in_test, copies.two_labels) == (1, 2)
    assert any("only copies that are equal files are found" in line for line in lines)


def test_pictures_without_files_are_named_by_their_number(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    digits.images[5] = digits.images[20]
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: digits)
    copies = make(source="digits").manifest.copies
    assert copies.in_test + copies.two_labels > 0
    (row,) = copies.listed
    assert {word.split()[0] for word in row} <= {"train", "test"}


def test_digits_and_their_split_have_no_copies(make: Make) -> None:
    assert make(source="digits").manifest.copies.listed == ()


def test_the_list_is_capped_and_begins_with_the_first() -> None:
    digests = np.array([[255 - number, 7] * 8 for number in range(30)], np.uint8)
    labels = torch.zeros(60, dtype=torch.int64)
    found = find_copies(np.concatenate([digests, digests]), labels, 30, [str(number) for number in range(60)])
    assert len(found.copies.listed) == LISTED
    assert found.copies.listed[0] == ("train 0", "test 30")
    assert found.copies.in_test == 30
    assert len(found.clean) == 0
    many = find_copies(digests[:1].repeat(60, 0), labels, 30, [str(number) for number in range(60)])
    assert many.copies.listed == (tuple(f"train {number}" for number in range(5)),)


def plainly(digests: list[bytes], labels: list[int], trained: int) -> tuple[int, int, list[list[int]], list[int]]:
    """Test pictures that are in training, pictures with two labels, both by picture in order of the first, the rest."""
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        rows.setdefault(digest, []).append(row)
    both = [group for group in rows.values() if group[0] < trained <= group[-1]]
    torn = [group for group in rows.values() if len({labels[row] for row in group}) > 1]
    listed = [group for group in rows.values() if group in both or group in torn]
    clean = [row for row in range(trained) if not any(row in group for group in listed)]
    tests = sum(row >= trained for group in both for row in group)
    return tests, sum(map(len, torn)), listed, clean


@pytest.mark.parametrize("seed", range(20))
def test_copies_are_those_that_a_plain_search_finds(seed: int) -> None:
    draw = np.random.default_rng(seed)
    # Zeros at the end, which numpy does not count as letters of a word, tell pictures apart, too.
    kinds = [bytes(draw.integers(0, 2, 16).tolist()) for _ in range(40)] + [bytes(16), bytes([*[0] * 15, 1])]
    digests = [kinds[index] for index in draw.integers(0, len(kinds), 60)]
    labels = draw.integers(0, 3, 60).tolist()
    tests, torn, listed, clean = plainly(digests, labels, 40)
    columns = np.frombuffer(b"".join(digests), np.uint8).reshape(60, 16)
    found = find_copies(columns, torch.tensor(labels), 40, [str(number) for number in range(60)])
    assert (found.copies.in_test, found.copies.two_labels, found.clean.tolist()) == (tests, torn, clean)
    places = [tuple(f"{'train' if row < 40 else 'test'} {row}" for row in group[:5]) for group in listed]
    assert found.copies.listed == tuple(places[:LISTED])
