"""Parquet files of pictures, as Hugging Face's ``datasets`` writes them, are unpacked once into tar files.

In Parquet a picture cannot be read without those that are compressed with it; in a tar it lies at a place of its own.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nascommon.data.inventory import file_digests
from nascommon.data.layout import DOWNLOADS, picture_root
from nascommon.data.members import SUFFIX
from nascommon.data.names import label
from nascommon.data.pictures import some
from nascommon.data.samples import Paths
from nascommon.data.settings import DataSettings
from nascommon.data.shards import LABEL, read_tars, shard_roles
from nascommon.data.walk import TABLE, files_below, is_picture, is_table
from nascommon.runtime.artefacts import digest
from nascommon.runtime.atomic import atomic
from nascommon.runtime.home import home
from nascommon.runtime.progress import progress
from nascommon.settings import UserError

ROWS = 16
"""Pictures that are in memory at a time."""
BUFFER = 2**20
"""Bytes of a file that are read at a time; without it all pictures of a group of rows would be."""
SECRET = -1
"""What ``datasets`` writes where a label is not published."""


@dataclass(frozen=True)
class Table:
    """A Parquet file that has pictures and labels.

    Attributes:
        path: where it is.
        pictures: name of the column of pictures, structures of bytes and path.
        labels: name of the column of labels.
        classes: names of the numbers in it; empty where it has none, or texts.
    """

    path: Path
    pictures: str
    labels: str
    classes: tuple[str, ...]


def read_tables(settings: DataSettings, report: Callable[[str], None]) -> tuple[tuple[str, ...], Paths, Paths | None]:
    """Classes, training pictures and test pictures (None: to be split off) of a folder of Parquet files.

    Their names tell which are trained and tested on, as those of shards do, see ``read_shards``; files without labels
    are left aside. Classes are in the order of the set.

    Raises:
        UserError: a file is damaged, lacks a column, a picture or the name of a class, or there is nothing to train on.
    """
    root = picture_root(settings)
    names = sorted(filter(is_table, files_below(root)))
    if not names:
        raise UserError(f"{root}: holds no {TABLE} files; check data.path")
    tables = {name: _table(root / name) for name in names}
    classes = _common([*tables.values()])
    labels = {name: _labels(table) for name, table in tables.items()}
    secret = [name for name in names if not any(labels[name])]
    lacking = sum(not text for name in names if name not in secret for text in labels[name])
    if secret:
        report(f"{root}: no labels in {some(secret)}")
    if lacking:
        report(f"{root}: {lacking} pictures without a label, left out")
    if not classes:
        report(f"{root}: no names of classes; they are called as their labels are")
    train, test = shard_roles(root, [name for name in names if name not in secret], settings, report)
    folder = (home() / DOWNLOADS / "huggingface" / digest(str(root))).resolve()
    tars = _unpacked(folder, root, {name: (tables[name], labels[name]) for name in train + test})
    return read_tars(folder, tars[: len(train)], tars[len(train) :], settings, report, classes)


def _table(path: Path) -> Table:
    """Find the columns of a file, by the name that they usually have or else by what they alone are."""
    with _named(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    features = _features(path, schema)  # of columns that somebody may have removed since
    pictures = [field.name for field in schema if pa.types.is_struct(field.type) and _has_bytes(field.type)]
    labels = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for name in schema.names if name == "label"]
    column = _one(path, schema, "image", "of pictures, structures of bytes and path", pictures)
    chosen = _one(path, schema, "label", "of labels", usual or labels)
    kind = schema.field(chosen).type
    if not pa.types.is_integer(kind) and kind not in (pa.string(), pa.large_string()):
        raise UserError(f"{path}: column {chosen} must hold whole numbers or texts (got {kind})")
    classes = features.get(chosen, {}).get("names") or [] if pa.types.is_integer(kind) else []
    return Table(path, column, chosen, _classes(path, classes))


def _features(path: Path, schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return what ``datasets`` notes of each column in the metadata of a file; nothing where it did not write it."""
    try:
        tree = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = tree.get("info", {}).get("features", {})
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (AttributeError, ValueError) as error:
        raise UserError(f"{path}: its metadata huggingface cannot be read ({error}); write the file again") from error


def _has_bytes(kind: pa.StructType) -> bool:
    index = kind.get_field_index("bytes")
    return index >= 0 and kind[index].type in (pa.binary(), pa.large_binary())


def _one(path: Path, schema: pa.Schema, usual: str, what: str, found: Sequence[str]) -> str:
    if usual in found:
        return usual
    if len(found) != 1:
        raise UserError(
            f"{path}: needs one column {what}, or one of the name {usual} (got {some(found) or 'none'});"
            f" its columns are {some(schema.names)}"
        )
    return found[0]


def _classes(path: Path, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"{path}: names of classes must be a list of texts (got {names!r})")
    classes = tuple(label(name.strip()) for name in names)
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise UserError(f"{path}: several classes are called {some(twice)}; give each a name of its own")
    return classes


def _common(tables: Sequence[Table]) -> tuple[str, ...]:
    first = tables[0]
    for table in tables:
        if table.classes != first.classes:
            ours, others = (some(one.classes) or "none" for one in (first, table))
            raise UserError(
                f"{table.path}: has other names of classes than {first.path} ({others}, not {ours}); name the folder of"
                " one set in data.path"
            )
    return first.classes


def _labels(table: Table) -> list[str]:
    """Return the class of each row, empty where it has none."""
    with _named(table.path), pq.ParquetFile(table.path) as file:
        values = file.read([table.labels]).column(0).to_pylist()
    return [_text(table, row, value) for row, value in enumerate(values)]


def _text(table: Table, row: int, value: int | str | None) -> str:
    if value is None or value == SECRET:
        return ""
    if isinstance(value, str):
        return label(value.strip())
    if value < 0 or (table.classes and value >= len(table.classes)):
        most = f"to {len(table.classes) - 1}, whose names it has" if table.classes else "on"
        raise UserError(f"{table.path}: row {row}: {table.labels} must be a number from 0 {most} (got {value})")
    return table.classes[value] if table.classes else str(value)


def _unpacked(folder: Path, root: Path, tables: dict[str, tuple[Table, list[str]]]) -> list[str]:
    """Write a tar of every file whose content has none yet, remove others, and return their names below ``folder``."""
    contents = zip(tables, file_digests(root, list(tables)), strict=True)
    tars = {name: f"{name.removesuffix(TABLE)}-{content.tobytes().hex()}{SUFFIX}" for name, content in contents}
    new = [name for name, tar in tars.items() if not (folder / tar).exists()]
    if new:
        with progress("unpacking", 1, unit="pass") as shown:
            for done, name in enumerate(new, 1):
                _unpack(*tables[name], folder / tars[name])
                shown.batch(done, len(new))
    for old in set(folder.rglob(f"*{SUFFIX}")) - {folder / tar for tar in tars.values()}:
        old.unlink()
    return list(tars.values())


def _unpack(table: Table, labels: Sequence[str], tar: Path) -> None:
    """Write every picture that has a label, and the label beside it, called by their row."""
    with atomic(tar) as part, tarfile.open(part, "w") as archive:
        for row, (text, picture) in enumerate(zip(labels, _pictures(table), strict=True)):
            if not text:
                continue
            content, path = (picture or {}).get("bytes"), (picture or {}).get("path") or ""
            if content is None:
                known = f", only the path {path}; embed it when the set is written, as push_to_hub does" if path else ""
                raise UserError(f"{table.path}: row {row}: {table.pictures} holds no picture{known}")
            ending = os.path.splitext(path)[1] if is_picture(path) else ".png"  # noqa: PTH122  # decoders look inside
            for name, inside in ((f"{row:08d}{ending}", content), (f"{row:08d}{LABEL}", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(inside)
                archive.addfile(member, BytesIO(inside))


def _pictures(table: Table) -> Iterator[dict[str, Any] | None]:
    """Yield the picture of each row."""
    with _named(table.path), pq.ParquetFile(table.path, buffer_size=BUFFER, pre_buffer=False) as file:
        for batch in file.iter_batches(ROWS, columns=[table.pictures], use_threads=False):
            yield from batch.column(0).to_pylist()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: is no whole Parquet file ({error}); write or download it again") from error
