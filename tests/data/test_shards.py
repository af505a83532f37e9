"""Tars of pictures and labels give what folders of the same pictures give, and what is wrong with one is named."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from nascommon.data.batches import evaluation_batches, training_batches
from nascommon.data.inventory import file_digests, inventory
from nascommon.data.prepared import Prepared
from nascommon.data.samples import Paths, Pixels
from nascommon.data.settings import Augment, DataSettings
from nascommon.data.sources import read_source
from nascommon.data.walk import is_shard
from nascommon.settings import UserError

CPU = torch.device("cpu")
Make = Callable[..., Prepared]
# Python 3.12 warns whenever a process with threads forks; loader processes of torch are made for that.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def pack(shard: Path, files: Mapping[str, bytes]) -> None:
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def pairs(folder: Path, label: Callable[[str], str]) -> dict[str, bytes]:
    """Return pictures of a folder of classes beside their labels, as a shard holds them."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.png")):
        key = f"{path.parent.name}_{path.stem}"
        files |= {f"{key}.png": path.read_bytes(), f"{key}.cls": label(path.parent.name).encode()}
    return files


@pytest.fixture
def shards(folder: Path, tmp_path: Path) -> Path:
    """Two shards of the pictures of ``folder``, six pictures each; cats are 0, dogs 1."""
    files = list(pairs(folder, lambda name: str(("cat", "dog").index(name)) + "\n").items())
    for number, part in enumerate((files[:12], files[12:])):
        pack(tmp_path / "shards" / f"pictures-{number:04d}.tar", dict(part))
    return tmp_path / "shards"


def read(root: Path, report: Callable[[str], None] = print, **settings: object) -> tuple[Paths, Paths | None]:
    tree = {"source": "webdataset", "path": str(root), **settings}
    found = read_source(DataSettings.model_validate(tree), report)
    assert isinstance(found.train, Paths)
    assert found.test is None or isinstance(found.test, Paths)
    return found.train, found.test


@pytest.mark.parametrize("storage", ["memory", "files"])
def test_the_same_pictures_come_out_as_of_a_folder(folder: Path, shards: Path, make: Make, storage: str) -> None:
    common = {"storage": storage, "size": 8, "test_fraction": 0.25}
    of_folder, of_shards = (
        make(source=source, path=str(path), **common)
        for source, path in (("image_folder", folder), ("webdataset", shards))
    )
    assert of_folder.manifest.classes == ("cat", "dog")
    assert of_shards.manifest.classes == ("0", "1")
    for name in ("weights", "architecture", "test"):
        one, other = of_folder.part(name), of_shards.part(name)
        assert torch.equal(one.labels, other.labels)
        if isinstance(one.samples, Pixels) and isinstance(other.samples, Pixels):
            assert torch.equal(one.samples.images, other.samples.images)
        for a, b in zip(
            *(evaluation_batches(part, 4, device=CPU, workers=0).epoch(0) for part in (one, other)), strict=True
        ):
            assert torch.equal(a.images, b.images)


def test_loader_processes_read_at_random(folder: Path, shards: Path, make: Make) -> None:
    epochs = []
    for source, path, workers in (("image_folder", folder, 0), ("webdataset", shards, 2)):
        part = make(source=source, path=str(path), storage="files", size=8).part("train")
        batches = training_batches(part, 3, Augment(), seed=1, device=CPU, workers=workers)
        epochs.append(torch.cat([images for images, _ in batches.epoch(0)]))
    assert torch.equal(*epochs)


def test_train_and_validation_are_known_by_their_names(folder: Path, tmp_path: Path) -> None:
    files = pairs(folder, {"cat": "10", "dog": "9"}.__getitem__)
    for name in ("imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar", "imagenet1k-validation-00.tar", "extra.tar"):
        pack(tmp_path / "wds" / name, {f"{name[:-4]}/{key}": content for key, content in files.items()})
    said: list[str] = []
    train, test = read(tmp_path / "wds", said.append)
    assert test is not None
    assert (len(train), len(test)) == (24, 12)
    assert train.labels.tolist() == ([1] * 6 + [0] * 6) * 2  # numbers in their order: 9, then 10
    assert said == [f"{tmp_path / 'wds'}: trains on 2 shards, tests on 1; left aside: extra.tar"]
    assert [len(part or ()) for part in read(tmp_path / "wds", said.append, classes=["10", "9"])] == [24, 12]


def test_what_has_no_partner_is_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    files = pairs(folder, str)
    del files["cat_00.cls"], files["dog_07.png"]
    pack(tmp_path / "s" / "a.tar", files | {"readme.txt": b"hello", "cat_01.json": b"{}"})
    said: list[str] = []
    train, _ = read(tmp_path / "s", said.append)
    assert len(train) == 10
    assert said[1:] == [
        f"{tmp_path / 's'}: 1 pictures without .cls, left out: a.tar/cat_00",
        f"{tmp_path / 's'}: 1 .cls without picture, left out: a.tar/dog_07",
    ]


def test_what_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    root, files = tmp_path / "s", pairs(folder, str)
    root.mkdir()
    cases: list[tuple[str, Callable[[], object], str]] = [
        ("none", lambda: None, r"holds no \.tar files; check data\.path"),
        ("packed", lambda: (root / "a.tar.gz").write_bytes(b"x"), r"unpack a\.tar\.gz to plain \.tar"),
        ("garbage", lambda: (root / "a.tar").write_bytes(b"garbage" * 200), r"a\.tar: is no whole, uncompressed tar"),
        (
            "torn",
            lambda: (root / "a.tar").write_bytes(torn(root / "a.tar", files)),
            r"a\.tar: is no whole, uncompressed",
        ),
        ("twice", lambda: pack(root / "a.tar", files | {"cat_00.jpg": b"x"}), "two pictures of the key cat_00"),
        ("empty label", lambda: pack(root / "a.tar", files | {"cat_00.cls": b" "}), r"cat_00\.cls must hold one label"),
        ("one class", lambda: pack(root / "a.tar", dict(list(files.items())[:12])), "at least 2 classes .got 1: cat"),
        ("no train", lambda: pack((root / "a.tar").rename(root / "test.tar"), files), r"has test\.tar but no shard to"),
        (
            "other classes",
            lambda: pack(root / "train.tar", files | {"x.png": files["cat_00.png"], "x.cls": b"bird"}),
            "they lack bird;",
        ),
    ]
    for _, spoil, message in cases:
        spoil()
        with pytest.raises(UserError, match=message):
            read(root)
    with pytest.raises(UserError, match=r"data\.classes: no picture of cow in .*; there are bird; cat; dog"):
        read(root, classes=["cat", "cow"])


def torn(shard: Path, files: Mapping[str, bytes]) -> bytes:
    pack(shard, files)
    return shard.read_bytes()[:1500]  # within a header


def test_a_picture_that_breaks_later_is_named_by_its_place(shards: Path, make: Make) -> None:
    part = make(source="webdataset", path=str(shards), storage="files", size=8).part("train")
    assert isinstance(part.samples, Paths)
    shard = shards / "pictures-0000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"pictures-0000\.tar/\d+\+\d+/cat_\d+\.png: .*the tar ends within it"):
        list(evaluation_batches(part, 4, device=CPU, workers=0).epoch(0))


def test_the_inventory_notices_a_changed_shard_and_the_content_hash_a_changed_picture(shards: Path, make: Make) -> None:
    before = inventory(shards, is_shard)
    assert before[0] == 2
    hashes = [make(source="webdataset", path=str(shards), storage="files", size=8).manifest.content_hash]
    train, _ = read(shards)
    digests = file_digests(train.root, train.names).tolist()
    assert len(set(map(bytes, digests))) == 12
    first, second = (shards / f"pictures-{number:04d}.tar" for number in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert inventory(shards, is_shard) != before
    first.write_bytes(content)
    assert inventory(shards, is_shard) == before
    assert file_digests(train.root, train.names).tolist() == digests
    hashes.append(make(source="webdataset", path=str(shards), storage="files", size=8).manifest.content_hash)
    assert hashes[0] == hashes[1]
