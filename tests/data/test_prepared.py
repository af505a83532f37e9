"""A prepared folder is whole, keeps its test pictures to itself, and is hashed by what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nascommon.data.prepared import Prepared, open_prepared
from nascommon.data.preparing import prepare
from nascommon.data.settings import DataSettings
from nascommon.runtime.artefacts import read_tensors, write_tensors
from nascommon.settings import UserError
from tests.spoilt import spoilt_trees

Make = Callable[..., Prepared]
STORAGES = pytest.mark.parametrize("storage", [{}, {"storage": "files", "size": 8}], ids=["memory", "files"])


@STORAGES
def test_the_parts_add_up_and_are_stratified(make: Make, storage: dict[str, object]) -> None:
    prepared = make(source="digits", **storage)
    sizes = {name: len(prepared.part(name)) for name in ("weights", "architecture", "train", "test")}
    assert sizes == {"weights": 719, "architecture": 719, "train": 1438, "test": 359}
    counts = prepared.manifest.counts
    for digit in prepared.manifest.classes:
        assert abs(counts["weights"][digit] - counts["architecture"][digit]) <= 1
        assert abs(counts["test"][digit] - 0.2 * sum(part[digit] for part in counts.values())) <= 1


@STORAGES
def test_only_the_part_test_opens_the_test_file(make: Make, storage: dict[str, object]) -> None:
    prepared = make(source="digits", limit=60, **storage)
    for file in (prepared.folder / "test").glob("samples.*"):
        file.write_bytes(b"torn")
    for name in ("weights", "architecture", "train"):
        assert len(prepared.part(name)) > 0
    with pytest.raises(UserError, match=r"test/samples"):
        prepared.part("test")


def test_no_picture_is_in_two_parts(make: Make, folder: Path) -> None:
    prepared = make(source="image_folder", path=str(folder), storage="files", size=8)
    paths = [set(prepared.part(name).samples.names) for name in ("weights", "architecture", "test")]  # type: ignore[attr-defined]  # files
    assert sum(map(len, paths)) == len(set.union(*paths)) == 12


def test_a_class_sorted_folder_puts_every_class_in_every_part(make: Make, folder: Path) -> None:
    prepared = make(source="image_folder", path=str(folder))
    assert prepared.manifest.classes == ("cat", "dog")
    assert prepared.manifest.counts["test"] == {"cat": 1, "dog": 1}
    for part in prepared.manifest.counts.values():
        assert min(part.values()) >= 1


def test_a_limit_keeps_as_many_of_every_class_and_the_same_share_of_test(make: Make) -> None:
    counts = make(source="digits", limit=100).manifest.counts
    assert {a + b for a, b in zip(counts["weights"].values(), counts["architecture"].values(), strict=True)} == {10}
    assert sum(counts["test"].values()) == round(359 * 100 / 1438)


def test_the_architecture_fraction_moves_the_cut(make: Make) -> None:
    prepared = make(source="digits", architecture_fraction=0.2)
    assert len(prepared.part("architecture")) == round(0.2 * 1438)


@pytest.mark.parametrize("limit", [None, 100])
def test_every_seed_trains_and_tests_on_the_same_pictures_and_divides_them_otherwise_for_the_search(
    make: Make, limit: int | None
) -> None:
    first, other = (make(source="digits", limit=limit, seed=seed) for seed in (0, 1))
    for part in ("train", "test"):
        assert torch.equal(*(prepared.part(part).samples.images for prepared in (first, other)))  # type: ignore[attr-defined]
    assert first.manifest.pictures_hash == other.manifest.pictures_hash
    assert (first.manifest.mean, first.manifest.std) == (other.manifest.mean, other.manifest.std)
    assert not torch.equal(*(prepared.part("weights").labels for prepared in (first, other)))


def test_the_content_hash_follows_content_and_split_only(make: Make, folder: Path) -> None:
    settings = {"source": "image_folder", "path": str(folder)}
    first = make(**settings).manifest.content_hash
    assert make(**settings, workers=1, augment={"flip": False}).manifest.content_hash == first
    assert make(seed=1, **settings).manifest.content_hash != first
    assert make(**settings, classes=["dog", "cat"]).manifest.content_hash != first
    picture = folder / "cat" / "00.png"
    image = Image.open(picture).copy()
    image.putpixel((0, 0), (1, 2, 3))
    image.save(picture)
    assert make(**settings).manifest.content_hash != first


def test_the_content_hash_of_files_follows_content_and_how_it_is_seen(make: Make, folder: Path) -> None:
    settings = {"source": "image_folder", "path": str(folder), "storage": "files", "size": 8}
    first = make(**settings).manifest.content_hash
    assert make(**settings, verify="headers", workers=0).manifest.content_hash == first
    (folder / "cat" / "00.png").rename(folder / "cat" / "000.png")  # the same pictures in the same order
    assert make(**settings).manifest.content_hash == first
    others = [make(**{**settings, **other}).manifest.content_hash for other in ({"size": 9}, {"fit": "pad"})]
    picture = folder / "cat" / "000.png"
    content = picture.read_bytes()
    picture.write_bytes((folder / "dog" / "06.png").read_bytes().ljust(len(content), b"\0")[: len(content)])
    others.append(make(**settings, verify="headers").manifest.content_hash)
    assert len({first, *others}) == 4


def test_mean_and_deviation_are_those_of_the_training_pictures(make: Make) -> None:
    prepared = make(source="digits")
    images = prepared.part("train").samples.images.double() / 255  # type: ignore[attr-defined]  # in memory
    assert prepared.manifest.mean[0] == pytest.approx(float(images.mean()), abs=1e-12)
    assert prepared.manifest.std[0] == pytest.approx(float(images.std(correction=0)), abs=1e-12)


def test_the_moments_of_files_are_those_of_the_same_pictures_in_memory(make: Make, folder: Path) -> None:
    settings = {"source": "image_folder", "path": str(folder), "storage": "files"}
    files = make(**settings, size=7)  # cuts the centre out of the 8 x 8 pictures
    names = files.part("train").samples.names  # type: ignore[attr-defined]  # files
    pixels = np.stack([np.array(Image.open(folder / name))[0:7, 0:7] for name in names]) / 255
    assert files.manifest.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-12)
    assert files.manifest.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-12)


def test_digits_keep_their_brightness_and_can_be_had_in_colour_and_larger(make: Make) -> None:
    plain = make(source="digits", limit=40).part("train").samples.images  # type: ignore[attr-defined]  # in memory
    assert (int(plain.min()), int(plain.max())) == (0, 255)
    colour = make(source="digits", limit=40, channels=3, size=16).part("train").samples.images  # type: ignore[attr-defined]  # in memory
    assert colour.shape[1:] == (3, 16, 16)
    assert torch.equal(colour[:, 0], colour[:, 2])


def test_classes_of_digits_are_restricted_and_ordered(make: Make) -> None:
    prepared = make(source="digits", classes=["7", "1"])
    assert prepared.manifest.classes == ("7", "1")
    assert set(prepared.part("test").labels.tolist()) == {0, 1}
    whole = make(source="digits").manifest.counts
    total = {digit: sum(part[digit] for part in whole.values()) for digit in ("7", "1")}
    assert {digit: sum(part[digit] for part in prepared.manifest.counts.values()) for digit in ("7", "1")} == total


def test_subset_keeps_order_and_manifest(make: Make) -> None:
    part = make(source="digits", limit=40).part("train")
    subset = part.subset([5, 2])
    assert subset.labels.tolist() == part.labels[[5, 2]].tolist()
    assert subset.manifest is part.manifest


def test_written_pictures_travel_with_the_folder(make: Make) -> None:
    prepared = make(source="digits", limit=40, storage="files", size=8)
    moved = prepared.folder.rename(prepared.folder.with_name("moved"))
    samples = open_prepared(moved).part("test").samples
    assert all((samples.root / name).is_file() for name in samples.names)  # type: ignore[attr-defined]  # files
    assert bytes(read_tensors(moved / "train" / "samples.safetensors")["root"].tolist()) == b"."


def test_preparing_again_leaves_nothing_of_the_other_storage(tmp_path: Path) -> None:
    def say(line: str) -> None:
        del line

    prepare(DataSettings(source="digits", limit=40, storage="files", size=8), 0, tmp_path, say)
    prepare(DataSettings(source="digits", limit=40), 0, tmp_path, say)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"manifest.json", "settings.json", "split.json", "train", "test"}
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["samples.safetensors"]


def spoil(folder: Path, name: str, change: Callable[[dict[str, object]], object]) -> None:
    tree = json.loads((folder / name).read_text())
    change(tree)
    (folder / name).write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), r"manifest\.json: no such file"),
        (lambda f: (f / "manifest.json").write_text('{"version"'), r"manifest\.json: not a JSON file"),
        (lambda f: spoil(f, "manifest.json", lambda tree: tree.update(version=99)), r"version: must be 1 \(got 99\)"),
        (lambda f: spoil(f, "manifest.json", lambda tree: tree.pop("classes")), "classes is missing"),
        (lambda f: spoil(f, "manifest.json", lambda tree: tree.update(height=9)), "does not match"),
        (
            lambda f: spoil(f, "split.json", lambda tree: tree.pop("weights")),
            "weights must be a list of different whole numbers",
        ),
        (lambda f: spoil(f, "split.json", lambda tree: tree.update(weights=[0, 1, 5000])), "does not fit"),
        (lambda f: spoil(f, "split.json", lambda tree: tree.update(weights=[0, 1])), "does not match"),
        (
            lambda f: (f / "train" / "samples.safetensors").write_bytes(b"\0" * 100),
            r"train/samples\.safetensors: not a whole",
        ),
        (lambda f: (f / "train" / "samples.safetensors").unlink(), r"train/samples\.safetensors: no such file"),
    ],
)
def test_a_torn_or_foreign_folder_is_refused(make: Make, break_it: Callable[[Path], object], message: str) -> None:
    folder = make(source="digits", limit=40).folder
    break_it(folder)
    with pytest.raises(UserError, match=message):
        open_prepared(folder).part("weights")


@pytest.mark.parametrize("file", ["manifest.json", "split.json"])
def test_whatever_value_is_changed_by_hand_it_is_read_or_refused_on_one_line(
    make: Make, folder: Path, file: str
) -> None:
    prepared = make(source="image_folder", path=str(folder), storage="files", size=8)
    path, refused = prepared.folder / file, []
    for spoilt in spoilt_trees(json.loads(path.read_text())):
        path.write_text(json.dumps(spoilt))
        try:
            for part in ("train", "weights", "architecture"):
                open_prepared(prepared.folder).part(part)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert [text for text in refused if "\n" in text or len(text) > 500] == []
    assert [text for text in refused if "`dvc repro prepare` makes it anew" not in text] == []


def spoilt_lists(tensors: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        yield {key: tensors[key] for key in tensors if key != name}
        for other in (
            tensor[:-1],
            tensor[None],
            tensor.float(),
            tensor.flip(0),
            tensor[:0],
            torch.full_like(tensor, 65),
        ):
            yield {**tensors, name: other}
    yield {**tensors, "ends": tensors["ends"].neg()}
    yield {**tensors, "labels": tensors["labels"] + 9}


def test_whatever_is_changed_in_the_list_of_files_it_is_read_or_refused_on_one_line(make: Make, folder: Path) -> None:
    prepared = make(source="image_folder", path=str(folder), storage="files", size=8)
    path, refused = prepared.folder / "train/samples.safetensors", []
    tensors = read_tensors(path)
    for spoilt in spoilt_lists(tensors):
        write_tensors(path, spoilt)
        try:
            prepared.part("train")
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert [text for text in refused if "\n" in text or len(text) > 500] == []
    assert [text for text in refused if "`dvc repro prepare` makes it anew" not in text] == []


def test_a_list_of_files_that_was_written_as_json_is_refused(make: Make, folder: Path) -> None:
    prepared = make(source="image_folder", path=str(folder), storage="files", size=8)
    list_of_files = prepared.folder / "train/samples.safetensors"
    list_of_files.unlink()
    list_of_files.with_suffix(".json").write_text('{"root": ".", "paths": [], "labels": []}')
    with pytest.raises(UserError, match=r"train/samples\.safetensors: no such file; run `dvc repro`"):
        prepared.part("train")


def test_pictures_that_moved_away_are_missed_by_name(make: Make, folder: Path) -> None:
    prepared = make(source="image_folder", path=str(folder), storage="files", size=8)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"the pictures are no longer at .*pictures"):
        prepared.part("train")


def test_one_line_tells_what_was_prepared(make: Make) -> None:
    lines: list[str] = []
    make(source="digits", report=lines.append)
    assert lines == [
        "digits: 10 classes, 719 weights, 719 architecture, 359 test; pictures 1 x 8 x 8, stored as memory"
    ]


def test_the_search_may_see_a_part_of_every_class_and_retraining_sees_all(make: Make) -> None:
    whole, part = make(source="digits"), make(source="digits", search_fraction=0.25, architecture_fraction=0.2)
    halves = [part.part(name) for name in ("weights", "architecture")]
    assert [len(half) for half in halves] == [round(0.8 * 360), round(0.2 * 360)]
    assert len(part.part("train")) == len(whole.part("train")) == 1438
    shares = torch.bincount(torch.cat([half.labels for half in halves])) / torch.bincount(part.part("train").labels)
    assert float((shares - 0.25).abs().max()) < 0.01
    assert set(part.manifest.counts) == {"weights", "architecture", "rest", "test"}
    assert "rest" not in whole.manifest.counts


def test_the_default_split_is_what_it_was_before_a_search_could_see_a_part(make: Make) -> None:
    assert (
        make(source="digits").manifest.content_hash == make(source="digits", search_fraction=1.0).manifest.content_hash
    )
