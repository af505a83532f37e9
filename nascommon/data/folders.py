"""A folder per class, for train and test apart or together; every oddity is named, none is skipped in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

import torch

from nascommon.data.layout import Layout, find_layout
from nascommon.data.listing import Names
from nascommon.data.names import label
from nascommon.data.pictures import SUFFIXES, some
from nascommon.data.samples import Paths
from nascommon.data.settings import DataSettings
from nascommon.data.walk import files_below, folders_in, is_picture
from nascommon.settings import UserError

FEWEST_CLASSES = 2


@dataclass(frozen=True)
class ClassFolders:
    """The picture files of every class in one folder, relative to ``root``, and what else lies there."""

    root: Path
    folder: Path
    names: dict[str, Names]
    others: tuple[str, ...]


def read_folders(settings: DataSettings, report: Callable[[str], None]) -> tuple[tuple[str, ...], Paths, Paths | None]:
    """Classes, training files and test files (None: to be split off) of any user's folder, see ``find_layout``.

    Raises:
        UserError: anything is missing, unreadable, empty or contradictory; or ImageNet has no sorted test pictures.
    """
    layout = find_layout(settings, report)
    train = _scan(layout.root, layout.train, layout.test)
    classes = _chosen(train, settings.classes)
    trained = _paths(train, classes)
    if layout.test is None:
        if settings.source == "imagenet":
            raise UserError(_without_validation(layout))
        _tell(train, report)
        return classes, trained, None
    test = _scan(layout.root, layout.test, None)
    _tell(train, report)
    _tell(test, report)
    _refuse_difference(train, test, classes if settings.classes else None)
    return classes, trained, _paths(test, classes)


def _without_validation(layout: Layout) -> str:
    return (
        f"{layout.root}: imagenet needs train/WNID/*.JPEG and val/WNID/*.JPEG, and no val folder here is sorted by the"
        " classes of train; move each of its pictures into a folder val/WNID (valprep.sh of the PyTorch ImageNet"
        " example does it), or name data.test_folder"
    )


def _scan(root: Path, part: str, test: str | None) -> ClassFolders:
    folder, inside = root / part, f"{part}/" if part else ""
    names: dict[str, Names] = {}
    others = list(takewhile(lambda name: "/" not in name, files_below(folder)))
    for name in folders_in(folder):
        if test is not None and folder / name == root / test:
            continue
        below = [f"{name}/{file}" for file in files_below(folder / name)]
        pictures = (inside + file for file in below if is_picture(file))
        names[label(name)] = Names(chain(names.get(label(name), ()), pictures))
        others += [file for file in below if not is_picture(file)]
    return ClassFolders(root, folder, dict(sorted(names.items())), tuple(others))


def _chosen(found: ClassFolders, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    classes = tuple(found.names) if wanted is None else tuple(map(label, wanted))
    unknown = [name for name in classes if name not in found.names]
    if unknown:
        raise UserError(
            f"data.classes: no folder for {some(unknown)} in {found.folder}; there are {some(list(found.names))}"
        )
    if len(classes) < FEWEST_CLASSES:
        raise UserError(
            f"{found.folder}: needs at least 2 class folders with pictures (got {len(classes)}: {some(classes)})"
        )
    return classes


def _refuse_difference(train: ClassFolders, test: ClassFolders, wanted: tuple[str, ...] | None) -> None:
    """Refuse sets of other classes; a test folder without pictures, of a class that is not trained, is no class."""
    trained = set(wanted or train.names)
    tested = {name for name, files in test.names.items() if files or name in train.names}
    only_train, only_test = sorted(trained - tested), [] if wanted else sorted(tested - trained)
    if only_train or only_test:
        both = sorted(trained & tested)
        way = f"add the folders, or list in data.classes those that both have ({some(both)})"
        raise UserError(
            f"{test.folder}: has other classes than {train.folder}:"
            + (f" lacks {some(only_train)};" if only_train else "")
            + (f" has, and train lacks, {some(only_test)};" if only_test else "")
            + f" {way if len(both) >= FEWEST_CLASSES else 'give the folders the same names in both'}"
        )


def _paths(found: ClassFolders, classes: tuple[str, ...]) -> Paths:
    empty = [name for name in classes if not found.names[name]]
    if empty:
        raise UserError(
            f"{found.folder}: class folders without pictures: {some(empty)}; fill, remove or leave them"
            f" out of data.classes (pictures end in {', '.join(sorted(SUFFIXES))})"
        )
    files = [found.names[name] for name in classes]
    counts_K = torch.tensor([len(names) for names in files])
    return Paths(found.root, Names(chain(*files)), torch.arange(len(files)).repeat_interleave(counts_K))


def _tell(found: ClassFolders, report: Callable[[str], None]) -> None:
    if found.others:
        report(f"{found.folder}: {len(found.others)} files are no pictures of a class: {some(found.others)}")
