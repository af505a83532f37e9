"""The folders people have: which of them are the classes, the training set and the test set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from nascommon.data.layout import role_of
from nascommon.data.prepared import Prepared
from nascommon.data.samples import Paths
from nascommon.settings import UserError

Make = Callable[..., Prepared]
Draw = Callable[..., None]
Fill = Callable[..., Path]
SPLIT_NAMES = {
    "train": ["train", "Train", "TRAIN", "training", "Training", "trainset", "train_set", "seg_train", "TrainSet",
              "train-data", "images.train", "training_images", "train2017", "ILSVRC2012_img_train"],
    "test": ["test", "Testing", "TESTSET", "test set", "seg_test", "TestData", "test2"],
    "val": ["val", "valid", "Validation", "val_images", "dev", "devset", "validset", "eval"],
    None: ["cat", "trainer", "contest", "valley", "retrain", "restrain", "device", "train_val", "retest"],
}  # fmt: skip


@pytest.fixture
def fill(tmp_path: Path, draw: Draw) -> Fill:
    """``fill("train/a", "b", each=3)`` draws so many pictures into every folder, each picture another."""
    count = iter(range(10_000))

    def act(*folders: str, each: int = 3, suffix: str = "png") -> Path:
        root = tmp_path / "root"
        for name in folders:
            for _ in range(each):
                number = next(count)
                draw(root / name / f"{number:04d}.{suffix}", number=number)
        return root

    return act


@pytest.fixture
def output() -> list[str]:
    return []


@pytest.fixture
def read(make: Make, output: list[str]) -> Callable[..., dict[str, Any]]:
    """Prepare a folder: its classes and the files of either set."""

    def act(root: Path, **settings: Any) -> dict[str, Any]:
        prepared = make(
            report=output.append,
            **{"source": "image_folder", "path": str(root), "size": 8, "storage": "files"} | settings,
        )
        names = {}
        for part in ("train", "test"):
            samples = prepared.part(part).samples
            assert isinstance(samples, Paths)
            assert all((samples.root / name).is_file() for name in samples.names)
            names[part] = samples.names
        return {"classes": prepared.manifest.classes, **names}

    return act


def tops(names: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in SPLIT_NAMES.items() for name in names])
def test_the_names_of_split_folders_are_known(role: str | None, name: str) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("trainset", "testset"), ("seg_train", "seg_test"), ("TRAIN", "valid"), ("train", "dev")],
)
def test_split_folders_in_any_usual_spelling_are_no_classes(
    fill: Fill, read: Callable[..., dict[str, Any]], output: list[str], train: str, test: str
) -> None:
    root = fill(*(f"{part}/{name}" for part in (train, test) for name in "abc"))
    found = read(root)
    assert found["classes"] == ("a", "b", "c")
    assert (tops(found["train"]), tops(found["test"])) == ({train}, {test})
    assert any(f"trains on {train}, tests on {test}" in line for line in output)


def test_a_set_that_kaggle_packed_twice_is_read_through_its_wrappers(
    fill: Fill, read: Callable[..., dict[str, Any]], output: list[str]
) -> None:
    folders = ("seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a", "seg_test/seg_test/b")
    root = fill(*(f"archive/{name}" for name in folders), "archive/seg_pred/seg_pred")
    found = read(root)
    assert found["classes"] == ("a", "b")
    assert len(found["train"]) == len(found["test"]) == 6
    assert any("left aside: seg_pred" in line for line in output)


@pytest.mark.parametrize("outer", [("2019", "2020"), ("A", "B", "C"), ("ships", "train_val")])
def test_classes_that_all_hold_the_same_folders_are_refused(
    fill: Fill, read: Callable[..., dict[str, Any]], outer: tuple[str, ...]
) -> None:
    root = fill(*(f"{name}/{inner}" for name in outer for inner in "xyz"))
    with pytest.raises(UserError, match=r"all hold the same folders x; y; z, so either may be the classes; name data"):
        read(root)
    assert read(root, train_folder=".")["classes"] == outer
    named = read(root, train_folder=outer[0], test_folder=outer[1])
    assert named["classes"] == ("x", "y", "z")
    assert (tops(named["train"]), tops(named["test"])) == ({outer[0]}, {outer[1]})


def test_a_class_may_be_called_train(fill: Fill, read: Callable[..., dict[str, Any]]) -> None:
    found = read(fill("bus", "car", "train"))
    assert found["classes"] == ("bus", "car", "train")


def test_classes_called_train_and_test_are_classes_where_they_hold_pictures(
    fill: Fill, read: Callable[..., dict[str, Any]]
) -> None:
    assert read(fill("train", "test"))["classes"] == ("test", "train")


def test_a_train_folder_beside_classes_may_be_either_and_a_setting_decides(
    fill: Fill, read: Callable[..., dict[str, Any]]
) -> None:
    root = fill("bus", "car", "train/steam", "train/diesel")
    with pytest.raises(UserError, match=r"train: is either the training set or a class beside bus; car; name data"):
        read(root)
    assert read(root, train_folder=".")["classes"] == ("bus", "car", "train")
    assert read(root, train_folder="train")["classes"] == ("diesel", "steam")


def test_named_folders_are_used_whatever_they_are_called(fill: Fill, read: Callable[..., dict[str, Any]]) -> None:
    root = fill("learn/a", "learn/b", "check/a", "check/b", "test/a", "test/b")
    found = read(root, train_folder="learn", test_folder="check")
    assert (tops(found["train"]), tops(found["test"])) == ({"learn"}, {"check"})
    assert tops(read(root, train_folder="learn")["test"]) == {"test"}


def test_classes_beside_the_named_test_folder(fill: Fill, read: Callable[..., dict[str, Any]]) -> None:
    root = fill("a", "b", "unseen/a", "unseen/b")
    found = read(root, train_folder=".", test_folder="unseen")
    assert found["classes"] == ("a", "b")
    assert (tops(found["train"]), tops(found["test"])) == ({"a", "b"}, {"unseen"})


@pytest.mark.parametrize(
    ("folders", "settings", "message"),
    [
        (("a", "b"), {"train_folder": "learn"}, r"data\.train_folder: .*learn is not a folder; there are a; b"),
        (("train/a", "train/b"), {"test_folder": "c"}, r"data\.test_folder: .*c is not a folder; there are train"),
        (
            ("Testing/a", "Testing/b", "Learning/a", "Learning/b"),
            {},
            r"has Testing but no train folder; add it, or name",
        ),
        (("train/a", "train/b", "Training/a", "Training/b"), {}, r"more than one folder to train on: Training; train"),
        (
            ("train/a", "train/b", "test1/a", "test1/b", "test2/a", "test2/b"),
            {},
            r"to test on: test1; test2; name it in",
        ),
        (("train/a", "train/b", "test/A", "test/B"), {}, r"lacks a; b; has, and train lacks, A; B; give the folders"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_way_out(
    fill: Fill, read: Callable[..., dict[str, Any]], folders: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(fill(*folders), **settings)


@pytest.mark.parametrize("source", ["image_folder", "imagenet"])
def test_tiny_imagenet_trains_on_its_inner_folders_and_tests_on_its_sorted_val(
    fill: Fill, read: Callable[..., dict[str, Any]], output: list[str], source: str
) -> None:
    root = fill("train/n01/images", "train/n02/images", "val/n01/images", "val/n02", "test/images", suffix="JPEG")
    (root / "train/n01/n01_boxes.txt").write_text("0")
    (root / "val/images").mkdir()  # what the sorting left
    found = read(root, source=source)
    assert found["classes"] == ("n01", "n02")
    assert (tops(found["train"]), tops(found["test"])) == ({"train"}, {"val"})
    assert any("tests on val; left aside: test (not sorted by the classes)" in line for line in output)


@pytest.mark.parametrize("unsorted", [("val/images", "test/images"), ("val", "test"), ("test",)])
def test_test_pictures_that_are_not_sorted_are_left_aside_or_refused_for_imagenet(
    fill: Fill, read: Callable[..., dict[str, Any]], output: list[str], unsorted: tuple[str, ...]
) -> None:
    root = fill("train/n01", "train/n02", each=5)
    fill(*unsorted)
    assert tops(read(root)["test"]) == {"train"}
    told = next(line for line in output if "trains on train, tests on 20% of it" in line)
    for name in unsorted:
        assert f"{name.split('/')[0]} (not sorted by the classes)" in told
    with pytest.raises(
        UserError, match=r"no val folder here is sorted by the classes of train; move each .* name data"
    ):
        read(root, source="imagenet")


def test_following_either_message_about_classes_leads_to_a_set(fill: Fill, read: Callable[..., dict[str, Any]]) -> None:
    root = fill("train/a", "train/b", "train/c", "test/a", "test/b", "test/d")
    with pytest.raises(UserError, match=r"lacks c; has, and train lacks, d; .* data\.classes those .*\(a; b\)"):
        read(root)
    assert read(root, classes=["a", "b"])["classes"] == ("a", "b")


COMPOSED, APART = "caf\u00e9", "cafe\u0301"


def test_names_composed_and_taken_apart_are_the_same_class_in_two_folders(
    fill: Fill, read: Callable[..., dict[str, Any]]
) -> None:
    root = fill(f"train/{COMPOSED}", "train/b", f"test/{APART}", "test/b")
    found = read(root)
    assert found["classes"] == ("b", COMPOSED)
    assert tops(name.split("/", 1)[1] for name in found["test"]) == {"b", APART}
    assert read(root, classes=[APART, "b"])["classes"] == (COMPOSED, "b")


def test_names_composed_and_taken_apart_are_one_class_in_one_folder(
    fill: Fill, read: Callable[..., dict[str, Any]]
) -> None:
    found = read(fill(COMPOSED, APART, "b"))
    assert found["classes"] == ("b", COMPOSED)
    assert len(found["train"]) + len(found["test"]) == 9


def test_names_that_are_not_utf_8_work(fill: Fill, read: Callable[..., dict[str, Any]], draw: Draw, make: Make) -> None:
    latin = os.fsdecode(b"caf\xe9")
    root = fill(latin, "b")
    for name in ("1", "2"):  # a copy under another label, so that the manifest lists its places
        draw(root / "b" / f"{latin}{name}.png", number=99)
    draw(root / latin / f"{latin}.png", number=99)
    found = read(root)
    assert found["classes"] == ("b", r"caf\xe9")
    files = [*found["train"], *found["test"]]
    assert len(files) == len(set(files)) == 9
    assert f"b/{latin}1.png" in files
    manifest = make(source="image_folder", path=str(root)).manifest
    assert manifest.classes == found["classes"]
    assert any(r"b/caf\xe91.png" in place for row in manifest.copies.listed for place in row)


def test_a_folder_that_links_to_itself_is_read_once(
    fill: Fill, read: Callable[..., dict[str, Any]], output: list[str]
) -> None:
    root = fill("a", "b")
    (root / "a/again").symlink_to(root / "a")
    (root / "b/all").symlink_to(root)
    (root / "whole").symlink_to(root)
    found = read(root)
    assert found["classes"] == ("a", "b")
    assert len(found["train"]) + len(found["test"]) == 6
    assert any("3 files are no pictures of a class" in line and "a/again" in line for line in output)
