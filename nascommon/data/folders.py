"""One folder per class, for train and test apart or together; every oddity is named, none is skipped in silence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from nascommon.data.pictures import SUFFIXES, some
from nascommon.data.samples import Paths
from nascommon.data.settings import DataSettings
from nascommon.settings import UserError

TEST_FOLDERS = ("test", "val")
FEWEST_CLASSES = 2


@dataclass(frozen=True)
class ClassFolders:
    """The picture files of every class below one folder (``part`` of the root, or the root itself if empty)."""

    root: Path
    part: str
    names: dict[str, tuple[str, ...]]
    others: tuple[str, ...]


def read_image_folder(
    settings: DataSettings, report: Callable[[str], None]
) -> tuple[tuple[str, ...], Paths, Paths | None]:
    """Classes, training files and test files (None: to be split off) of any user's folder.

    Layouts: ``root/CLASS/*``, or ``root/train/CLASS/*`` with ``root/test/CLASS/*`` or ``root/val/CLASS/*``.

    Raises:
        UserError: anything is missing, unreadable, empty or contradictory.
    """
    root = picture_root(settings)
    present = _folders_in(root)
    if "train" not in present:
        if set(present) & set(TEST_FOLDERS):
            raise UserError(f"{root}: has {some(sorted(set(present) & set(TEST_FOLDERS)))} but no train folder; add it")
        return _together(root, "", settings, report)
    tests = [name for name in TEST_FOLDERS if name in present]
    aside = sorted(set(present) - {"train", *tests[:1]})
    if aside:
        report(f"{root}: left aside: {some(aside)}")
    if not tests:
        report(f"{root}: no test or val folder: {settings.test_fraction:.0%} of train becomes the test set")
        return _together(root, "train", settings, report)
    return _apart(root, tests[0], settings, report)


def read_imagenet(settings: DataSettings, report: Callable[[str], None]) -> tuple[tuple[str, ...], Paths, Paths]:
    """Classes, training files and test files of ``root/train/WNID/*.JPEG`` and ``root/val/WNID/*.JPEG``.

    Raises:
        UserError: as ``read_image_folder``, or the validation pictures are not sorted into class folders.
    """
    root = picture_root(settings)
    present = _folders_in(root)
    for needed in ("train", "val"):
        if needed not in present:
            raise UserError(f"{root}: has no {needed} folder; imagenet needs train/WNID/*.JPEG and val/WNID/*.JPEG")
    val = root / "val"
    if not _folders_in(val):
        raise UserError(
            f"{val}: holds its pictures flat; move each into a folder val/WNID of its class"
            " (valprep.sh of the PyTorch ImageNet example does it)"
        )
    return _apart(root, "val", settings, report)


def picture_root(settings: DataSettings) -> Path:
    """The existing folder that ``data.path`` names.

    Raises:
        UserError: there is none.
    """
    root = Path(settings.path or "").expanduser()
    if not root.is_dir():
        raise UserError(f"data.path: {root} is not a folder; name the folder that holds the pictures")
    return root.resolve()


def _together(
    root: Path, part: str, settings: DataSettings, report: Callable[[str], None]
) -> tuple[tuple[str, ...], Paths, None]:
    found = _scan(root, part)
    _tell(found, report)
    classes = _chosen(found, settings.classes)
    return classes, _paths(found, classes), None


def _apart(
    root: Path, test_folder: str, settings: DataSettings, report: Callable[[str], None]
) -> tuple[tuple[str, ...], Paths, Paths]:
    train, test = _scan(root, "train"), _scan(root, test_folder)
    _tell(train, report)
    _tell(test, report)
    classes = _chosen(train, settings.classes)
    only_test = sorted(set(test.names) - set(train.names)) if settings.classes is None else []
    if only_test:
        raise UserError(
            f"{root / test_folder}: classes that train lacks: {some(only_test)}; add them to train or list data.classes"
        )
    only_train = [name for name in classes if name not in test.names]
    if only_train:
        raise UserError(
            f"{root / test_folder}: lacks classes of train: {some(only_train)}; add them or list data.classes"
        )
    return classes, _paths(train, classes), _paths(test, classes)


def _scan(root: Path, part: str) -> ClassFolders:
    folder = root / part
    names: dict[str, tuple[str, ...]] = {}
    others = [f"{folder / name}" for name in _files_in(folder)]
    for label in _folders_in(folder):
        files = sorted(_walk(folder / label))
        names[label] = tuple(file.relative_to(root).as_posix() for file in files if file.suffix.lower() in SUFFIXES)
        others += [str(file) for file in files if file.suffix.lower() not in SUFFIXES]
    return ClassFolders(root, part, names, tuple(others))


def _chosen(found: ClassFolders, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    folder = found.root / found.part
    unknown = [name for name in wanted or () if name not in found.names]
    if unknown:
        raise UserError(f"data.classes: no folder for {some(unknown)} in {folder}; there are {some(list(found.names))}")
    classes = wanted or tuple(found.names)
    if len(classes) < FEWEST_CLASSES:
        raise UserError(f"{folder}: needs at least 2 class folders with pictures (got {len(classes)}: {some(classes)})")
    return classes


def _paths(found: ClassFolders, classes: tuple[str, ...]) -> Paths:
    empty = [name for name in classes if not found.names[name]]
    if empty:
        raise UserError(
            f"{found.root / found.part}: class folders without pictures: {some(empty)}; fill, remove or leave them"
            f" out of data.classes (pictures end in {', '.join(sorted(SUFFIXES))})"
        )
    names = tuple(name for label in classes for name in found.names[label])
    labels = [index for index, label in enumerate(classes) for _ in found.names[label]]
    return Paths(found.root, names, torch.tensor(labels, dtype=torch.int64))


def _tell(found: ClassFolders, report: Callable[[str], None]) -> None:
    if found.others:
        report(f"{found.root / found.part}: {len(found.others)} files are no pictures of a class: {some(found.others)}")


def _walk(folder: Path) -> list[Path]:
    files = [folder / name for name in _files_in(folder)]
    return files + [file for name in _folders_in(folder) for file in _walk(folder / name)]


def _folders_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def _files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if not entry.is_dir())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check the folder and its permissions") from error
