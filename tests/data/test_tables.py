"""Parquet files as ``datasets`` writes them give what folders of the same pictures give; what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nascommon.data import tables as module
from nascommon.data.batches import training_batches
from nascommon.data.inventory import inventory
from nascommon.data.prepared import Prepared
from nascommon.data.samples import Paths
from nascommon.data.settings import Augment, DataSettings
from nascommon.data.sources import read_source
from nascommon.data.walk import is_table
from nascommon.settings import UserError

CPU = torch.device("cpu")
Make = Callable[..., Prepared]
Row = Mapping[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
NAMES = ["cat", "dog"]


def features(names: Sequence[str] | None, label: str = "label") -> dict[str, Any]:
    """The columns as datasets 3 notes them; without names, as it notes a plain number."""
    kind = {"dtype": "int64", "_type": "Value"} if names is None else {"names": names, "_type": "ClassLabel"}
    return {"image": {"_type": "Image"}, label: kind}


def write(
    file: Path, rows: Sequence[Row], names: Sequence[str] | None = NAMES, label: str = "label", **options: Any
) -> None:
    """Write what ``Dataset.to_parquet`` writes of rows of an image and a label."""
    kind = pa.string() if any(isinstance(row[label], str) for row in rows) else pa.int64()
    note = {"info": {"features": features(names, label)}, "fingerprint": "0"}
    schema = pa.schema({"image": IMAGE, label: kind}, metadata={"huggingface": json.dumps(note)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), file, **{"row_group_size": 5, **options})


def rows_of(folder: Path, named: bool = True) -> list[dict[str, Any]]:
    """The pictures of a folder of classes, in its order."""
    return [
        {
            "image": {"bytes": path.read_bytes(), "path": path.name if named else None},
            "label": NAMES.index(path.parent.name),
        }
        for path in sorted(folder.rglob("*.png"))
    ]


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "DOWNLOADS", tmp_path / "downloads")
    return tmp_path / "downloads"


@pytest.fixture
def tables(folder: Path, tmp_path: Path) -> Path:
    """Two files of the pictures of ``folder``, as the hub names them."""
    rows = rows_of(folder)
    for number in range(2):
        write(tmp_path / f"set/data/train-{number:05d}-of-00002.parquet", rows[number * 7 : number * 7 + 7])
    return tmp_path / "set"


def read(
    root: Path, report: Callable[[str], None] = print, **settings: object
) -> tuple[tuple[str, ...], Paths, Paths | None]:
    tree = {"source": "huggingface", "path": str(root), **settings}
    found = read_source(DataSettings.model_validate(tree), report)
    assert isinstance(found.train, Paths)
    assert found.test is None or isinstance(found.test, Paths)
    return found.classes, found.train, found.test


@pytest.mark.parametrize("storage", ["memory", "files"])
def test_the_same_pictures_come_out_as_of_a_folder(folder: Path, tables: Path, make: Make, storage: str) -> None:
    common = {"storage": storage, "size": 8, "test_fraction": 0.25}
    of_folder = make(source="image_folder", path=str(folder), **common).manifest
    of_tables = make(source="huggingface", path=str(tables), **common).manifest
    assert of_tables.content_hash == of_folder.content_hash  # of every byte, label and place in the split
    assert of_tables.model_dump(exclude={"source"}) == of_folder.model_dump(exclude={"source"})


def test_loader_processes_read_at_random(folder: Path, tables: Path, make: Make) -> None:
    epochs = []
    for source, path, workers in (("image_folder", folder, 0), ("huggingface", tables, 2)):
        part = make(source=source, path=str(path), storage="files", size=8).part("train")
        batches = training_batches(part, 3, Augment(), seed=1, device=CPU, workers=workers)
        epochs.append(torch.cat([images for images, _ in batches.epoch(0)]))
    assert torch.equal(*epochs)


def test_splits_are_known_by_their_names_and_classes_keep_the_order_of_the_set(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder, named=False)
    for name in ("data/train-00000-of-00001", "data/validation-00000-of-00001"):
        write(tmp_path / f"set/{name}.parquet", rows, ["zebra", "ant", "lion that nobody saw"])
    secret = [{**row, "label": -1} for row in rows]
    write(tmp_path / "set/data/test-00000-of-00001.parquet", secret, ["zebra", "ant", "lion that nobody saw"])
    said: list[str] = []
    classes, train, test = read(tmp_path / "set", said.append)
    assert test is not None
    assert (classes, len(train), len(test)) == (("zebra", "ant"), 12, 12)
    assert train.labels.tolist() == [0] * 6 + [1] * 6
    assert said == [
        f"{tmp_path / 'set'}: no labels in data/test-00000-of-00001.parquet",
        f"{tmp_path / 'set'}: trains on 1 shards, tests on 1",
    ]
    classes, train, _ = read(tmp_path / "set", said.append, classes=["ant", "zebra"])
    assert (classes, train.labels.tolist()) == (("ant", "zebra"), [1] * 6 + [0] * 6)


@pytest.mark.parametrize("names", [None, []])
def test_classes_without_names_are_called_by_their_numbers(
    folder: Path, tmp_path: Path, names: Sequence[str] | None
) -> None:
    rows = [{**row, "label": 10 - row["label"]} for row in rows_of(folder)]
    write(tmp_path / "set/0000.parquet", rows, names)
    said: list[str] = []
    classes, train, _ = read(tmp_path / "set", said.append)
    assert classes == ("9", "10")
    assert train.labels.tolist() == [1] * 6 + [0] * 6
    assert said[0] == f"{tmp_path / 'set'}: no names of classes; they are called as their labels are"


def test_texts_are_labels_and_rows_without_one_are_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": NAMES[row["label"]]} for row in rows_of(folder)]
    rows[3] |= {"label": None}
    rows[4] |= {"label": " "}
    write(tmp_path / "set/a.parquet", rows, None)
    said: list[str] = []
    classes, train, _ = read(tmp_path / "set", said.append)
    assert (classes, train.labels.tolist()) == (("cat", "dog"), [0] * 4 + [1] * 6)
    assert said[0] == f"{tmp_path / 'set'}: 2 pictures without a label, left out"


def test_columns_of_other_names_are_known_by_their_kinds(folder: Path, tmp_path: Path) -> None:
    rows = [{"image": row["image"], "kind": row["label"]} for row in rows_of(folder)]
    write(tmp_path / "set/a.parquet", rows, label="kind")
    path = tmp_path / "set/a.parquet"
    table = pq.read_table(path)
    renamed = table.rename_columns(["img", "kind"]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(renamed, path)
    assert read(tmp_path / "set")[0] == ("cat", "dog")


def test_a_file_is_unpacked_once_and_again_only_when_it_has_changed(
    folder: Path, tables: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[str] = []
    unpack = module._unpack

    def noticed(table: module.Table, labels: Sequence[str], tar: Path) -> None:
        unpacked.append(table.path.name)
        unpack(table, labels, tar)

    monkeypatch.setattr(module, "_unpack", noticed)
    before = inventory(tables, is_table)
    read(tables)
    read(tables)
    assert unpacked == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    write(tables / "data" / unpacked[1], rows_of(folder)[8:])
    assert (before[0], inventory(tables, is_table) != before) == (2, True)
    assert len(read(tables)[1]) == 11
    assert unpacked[2:] == unpacked[1:2]
    assert len(list(downloads.rglob("*.tar"))) == 2


def test_what_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    root, rows = tmp_path / "s", rows_of(folder)
    root.mkdir()
    file, bad = root / "a.parquet", {"bytes": None, "path": "far/away.png"}

    def torn() -> None:
        write(file, rows)
        content = bytearray(file.read_bytes())
        content[4:200] = bytes(196)
        file.write_bytes(content)

    def columns(**others: Any) -> None:
        pq.write_table(pa.table(others), file)

    def dropped() -> None:
        write(file, [{"image": row["image"], "kind": row["label"]} for row in rows], label="kind")
        table = pq.read_table(file)
        pq.write_table(table.drop_columns("kind").replace_schema_metadata(table.schema.metadata), file)

    def noted(text: str) -> None:
        pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"huggingface": text}), file)

    def two_sets() -> None:
        write(file, rows)
        write(root / "b.parquet", rows, ["cat", "cow"])

    def only_tests() -> None:
        file.unlink()
        (root / "b.parquet").rename(root / "test.parquet")

    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: None, r"holds no \.parquet files; check data\.path"),
        (lambda: file.write_bytes(b""), r"a\.parquet: is no whole Parquet file \(Parquet file size is 0 bytes\)"),
        (lambda: file.write_bytes(b"garbage" * 9), r"a\.parquet: is no whole Parquet file .*download it again"),
        (torn, r"a\.parquet: is no whole Parquet file"),
        (lambda: columns(label=[0, 1]), r"needs one column of pictures.*got none.*its columns are label"),
        (lambda: columns(image=[b"x"], label=[0]), r"needs one column of pictures.*its columns are image; label"),
        (dropped, r"needs one column of labels.*got none.*its columns are image"),
        (lambda: columns(image=pa.array([bad], IMAGE)), r"needs one column of labels, or one of the name label"),
        (
            lambda: columns(image=pa.array([bad], IMAGE), label=[0.5]),
            "column label must hold whole numbers or texts .got double",
        ),
        (lambda: write(file, rows, ["cat", "cat"]), "several classes are called cat"),
        (lambda: write(file, rows, ["cat", " "]), "names of classes must be a list of texts"),
        (lambda: write(file, rows, ["cat"]), r"a\.parquet: row 6: label must be a number from 0 to 0, whose.*got 1"),
        (lambda: write(file, [{**rows[0], "label": -2}], None), r"row 0: label must be a number from 0 on .got -2"),
        (lambda: write(file, [*rows, {**rows[0], "image": None}]), r"a\.parquet: row 12: image holds no picture$"),
        (lambda: write(file, [*rows, {**rows[0], "image": bad}]), r"row 12: .*, only the path far/away\.png; embed it"),
        (lambda: write(file, rows[:6]), "at least 2 classes .got 1: cat"),
        (lambda: write(file, [{**row, "label": -1} for row in rows]), "at least 2 classes .got 0"),
        (lambda: noted("["), "its metadata huggingface cannot be read"),
        (lambda: noted("[]"), "its metadata huggingface cannot be read"),
        (
            two_sets,
            r"b\.parquet: has other names of classes than .*a\.parquet .cat; cow, not cat; dog",
        ),
        (only_tests, r"has test\.parquet but no shard"),
    ]
    for spoil, message in cases:
        spoil()
        with pytest.raises(UserError, match=message) as caught:
            read(root)
        assert "\n" not in str(caught.value)
    (root / "test.parquet").unlink()
    write(file, rows)
    with pytest.raises(UserError, match=r"data\.classes: no picture of cow in .*; there are cat; dog"):
        read(root, classes=["cat", "cow"])


def test_a_broken_picture_is_named_by_its_row(folder: Path, tmp_path: Path, make: Make) -> None:
    rows = rows_of(folder)
    rows[5]["image"]["bytes"] = rows[5]["image"]["bytes"][:-80]
    write(tmp_path / "set/train.parquet", rows)
    with pytest.raises(UserError, match=r"1 of 12 pictures cannot be used: .*/train-\w+\.tar/\d+\+\d+/00000005\.png: "):
        make(source="huggingface", path=str(tmp_path / "set"), storage="files", size=8)


def test_no_more_than_some_pictures_are_in_memory(tmp_path: Path) -> None:
    """Of a group of rows of 64 MB in pages of one."""
    rows = [{"image": {"bytes": bytes([n % 251]) * 2**18, "path": None}, "label": n % 2} for n in range(256)]
    options: dict[str, Any] = {
        "row_group_size": 256,
        "compression": "none",
        "use_dictionary": False,
        "write_batch_size": 4,
    }
    write(tmp_path / "set/a.parquet", rows, **options)
    before, pool = pa.total_allocated_bytes(), pa.default_memory_pool()
    del rows
    most = 0
    table = module._table(tmp_path / "set/a.parquet")
    for _ in module._pictures(table):
        most = max(most, pool.bytes_allocated() - before)
    assert most < 2**25
