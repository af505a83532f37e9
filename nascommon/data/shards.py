"""Tar files as WebDataset lays them out, ``key.jpg`` beside ``key.cls``, are indexed once and then read at random."""

from __future__ import annotations

import os
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nascommon.data.layout import TEST_ROLES, picture_root, role_of
from nascommon.data.listing import Names
from nascommon.data.members import SUFFIX, place
from nascommon.data.names import label
from nascommon.data.pictures import some
from nascommon.data.samples import Paths
from nascommon.data.settings import DataSettings
from nascommon.data.walk import files_below, is_picture, is_shard
from nascommon.settings import UserError

LABEL = ".cls"
LARGEST_LABEL = 1024
"""Bytes of a label; whatever is longer is none."""
FEWEST_CLASSES = 2


@dataclass
class Contents:
    """The pictures of some shards.

    Attributes:
        pictures: path of each picture, see ``nascommon.data.members``.
        labels: text of each one's label.
        unlabelled: pictures without one.
        pictureless: labels without a picture.
    """

    pictures: Names = field(default_factory=Names)
    labels: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    pictureless: list[str] = field(default_factory=list)


def read_shards(settings: DataSettings, report: Callable[[str], None]) -> tuple[tuple[str, ...], Paths, Paths | None]:
    """Classes, training pictures and test pictures (None: to be split off) of a folder of tar files.

    Those with ``train`` in their path are trained on, those with ``test``, or else ``val`` or ``validation``, are
    tested on; where no path has such a word, all are trained on. Classes are the labels, numbers in their order.

    Raises:
        UserError: a tar is damaged or compressed, labels are missing or contradictory, or there is nothing to train on.
    """
    root = picture_root(settings)
    shards = sorted(filter(is_shard, files_below(root)))
    if not shards:
        packed = [name for name in files_below(root) if f"{SUFFIX}." in name.lower() or name.lower().endswith(".tgz")]
        way = f"unpack {some(packed)} to plain .tar, which can be read at random" if packed else "check data.path"
        raise UserError(f"{root}: holds no {SUFFIX} files; {way}")
    train, test = shard_roles(root, shards, settings, report)
    return read_tars(root, train, test, settings, report)


def read_tars(
    root: Path,
    train: Sequence[str],
    test: Sequence[str],
    settings: DataSettings,
    report: Callable[[str], None],
    names: Sequence[str] = (),
) -> tuple[tuple[str, ...], Paths, Paths | None]:
    """Return what ``read_shards`` does, of tar files whose roles are known.

    Args:
        root: the folder of the tar files.
        train: their names, relative to it, of those to train on.
        test: of those to test on; none where the test pictures are to be split off.
        settings: the section.
        report: takes what the user should know, a line at a time.
        names: of the classes that there may be, in their order; empty: numbers by their value, words by the alphabet.
    """
    trained = _contents(root, train, report)
    classes = _chosen(root, trained, settings.classes, names)
    if not test:
        return classes, _paths(root, trained, classes), None
    tested = _contents(root, test, report)
    _refuse_difference(root, set(tested.labels), classes, restricted=settings.classes is not None)
    return classes, _paths(root, trained, classes), _paths(root, tested, classes)


def shard_roles(
    root: Path, shards: Sequence[str], settings: DataSettings, report: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Return the shards to train on and those to test on, by the words in their names, and tell of the others.

    Raises:
        UserError: there is one to test on and none to train on.
    """
    role = {name: role_of(os.path.splitext(name)[0]) for name in shards}  # noqa: PTH122 -- a name, no file
    train = [name for name in shards if role[name] == "train"]
    tests = [[name for name in shards if role[name] == word] for word in TEST_ROLES]
    test = next(filter(None, tests), [])
    if test and not train:
        raise UserError(f"{root}: has {some(test)} but no shard to train on; one has the word train in its path")
    train = train or list(shards)
    aside = [name for name in shards if name not in {*train, *test}]
    report(
        f"{root}: trains on {len(train)} shards, tests on"
        f" {f'{settings.test_fraction:.0%} of them' if not test else len(test)}"
        f"{f'; left aside: {some(aside)}' if aside else ''}"
    )
    return train, test


def _contents(root: Path, shards: Sequence[str], report: Callable[[str], None]) -> Contents:
    """Index some shards, and say what is no pair of picture and label."""
    found = Contents()
    for shard in shards:
        _add(found, root, shard)
    for names, lack in (
        (found.unlabelled, f"pictures without {LABEL}"),
        (found.pictureless, f"{LABEL} without picture"),
    ):
        if names:
            report(f"{root}: {len(names)} {lack}, left out: {some(names)}")
    return found


def _add(found: Contents, root: Path, shard: str) -> None:
    pictures: dict[str, str] = {}
    labels: dict[str, str] = {}
    for key, name, member, archive in _members(root / shard):
        if is_picture(name):
            if key in pictures:
                raise UserError(
                    f"{root / shard}: has two pictures of the key {key}; give every picture a key of its own"
                )
            pictures[key] = place(shard, member.offset_data, member.size, name)
        elif name.endswith(LABEL):
            labels[key] = _label(root / shard, archive, member)
    paired = [key for key in pictures if key in labels]
    found.pictures.extend(pictures[key] for key in paired)
    found.labels += [labels[key] for key in paired]
    found.unlabelled += [f"{shard}/{key}" for key in pictures if key not in labels]
    found.pictureless += [f"{shard}/{key}" for key in labels if key not in pictures]


def _members(shard: Path) -> Iterator[tuple[str, str, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield key, name and place of every file of a tar; the key is its name up to the first dot of the last part."""
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
                if member.isreg():
                    folder, slash, name = member.name.rpartition("/")
                    yield f"{folder}{slash}{name.partition('.')[0]}", member.name, member, archive
            _refuse_torn(archive)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{shard}: is no whole, uncompressed tar ({error}); make or download it again") from error


def _refuse_torn(archive: tarfile.TarFile) -> None:
    """Refuse a tar whose end is missing: tarfile takes one that is torn within a header for a whole one."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end after {archive.offset} bytes")


def _label(shard: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member)
    text = (
        content.read().decode("utf-8", "backslashreplace").strip() if content and member.size <= LARGEST_LABEL else ""
    )
    if not text:
        raise UserError(f"{shard}: {member.name} must hold one label, a number or a word ({member.size} bytes)")
    return sys.intern(label(text))  # one text for all pictures of a class


def _chosen(root: Path, found: Contents, wanted: tuple[str, ...] | None, names: Sequence[str]) -> tuple[str, ...]:
    known = Counter(found.labels)
    numbers = all(name.isascii() and name.isdecimal() for name in known)
    alone = sorted(known, key=(lambda name: (int(name), name)) if numbers else None)
    ordered = [name for name in names if name in known] if names else alone
    classes = tuple(ordered) if wanted is None else tuple(map(label, wanted))
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise UserError(f"data.classes: no picture of {some(unknown)} in {root}; there are {some(ordered)}")
    if len(classes) < FEWEST_CLASSES:
        raise UserError(f"{root}: needs pictures of at least 2 classes (got {len(classes)}: {some(classes)})")
    return classes


def _refuse_difference(root: Path, tested: set[str], classes: tuple[str, ...], *, restricted: bool) -> None:
    lacking = [name for name in classes if name not in tested]
    more = [] if restricted else sorted(tested - set(classes))
    if lacking or more:
        raise UserError(
            f"{root}: the test shards have other classes than the training shards:"
            + (f" they lack {some(lacking)};" if lacking else "")
            + (f" only they have {some(more)};" if more else "")
            + " list in data.classes those that both have, or add the pictures"
        )


def _paths(root: Path, found: Contents, classes: tuple[str, ...]) -> Paths:
    index = {name: number for number, name in enumerate(classes)}
    rows = [row for row, name in enumerate(found.labels) if name in index]
    labels = torch.tensor([index[found.labels[row]] for row in rows], dtype=torch.int64)
    return Paths(root, Names(found.pictures[row] for row in rows), labels)
