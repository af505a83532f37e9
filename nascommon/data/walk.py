"""Contents of a folder of pictures, read once in the order of names; links that lead back are not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nascommon.data.members import SUFFIX
from nascommon.data.pictures import SUFFIXES
from nascommon.settings import UserError

TABLE = ".parquet"


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, sorted; hidden ones and links to a folder around it are left out."""
    around = _around(folder)
    return sorted(entry.name for entry in _entries(folder) if is_folder(entry) and not _leads_back(entry, around))


def files_below(folder: Path, entered: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names of all files, relative to ``folder`` and with forward slashes: its own first, then folder by folder.

    A link that leads back, to a folder around it or one that was ``entered``, is given as if it were a file.
    """
    around = entered | _around(folder)
    entries = sorted(_entries(folder), key=lambda entry: entry.name)
    inner = [entry for entry in entries if is_folder(entry) and not _leads_back(entry, around)]
    yield from (entry.name for entry in entries if entry not in inner)
    for entry in inner:
        yield from (f"{entry.name}/{name}" for name in files_below(folder / entry.name, around))


def has_pictures(folder: Path, entered: frozenset[str] = frozenset()) -> bool:
    """Return whether a picture lies in ``folder`` or below; stops at the first."""
    around = entered | _around(folder)
    inner = []
    for entry in _entries(folder):
        if not is_folder(entry):
            if is_picture(entry.name):
                return True
        elif not _leads_back(entry, around):
            inner.append(folder / entry.name)
    return any(has_pictures(path, around) for path in inner)


def holds_pictures(folder: Path) -> bool:
    """Return whether a picture lies in ``folder`` itself."""
    return any(is_picture(entry.name) and not is_folder(entry) for entry in _entries(folder))


def is_picture(name: str) -> bool:
    """Return whether a file of that name is taken for a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 -- a Path for each of a million names is slow


def is_shard(name: str) -> bool:
    """Return whether a file of that name is taken for a tar of pictures."""
    return name.endswith(SUFFIX)


def is_table(name: str) -> bool:
    """Return whether a file of that name is taken for a Parquet file of pictures."""
    return name.endswith(TABLE)


def _around(folder: Path) -> frozenset[str]:
    real = folder.resolve()
    return frozenset(map(str, (real, *real.parents)))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check the folder and its permissions") from error


def is_folder(path: os.DirEntry[str] | Path) -> bool:
    """Return whether it is a folder, or a link to one."""
    try:
        return path.is_dir()
    except OSError:  # a link to itself, which as a file is named when it is opened; or a name longer than allowed
        return False


def _leads_back(entry: os.DirEntry[str], around: frozenset[str]) -> bool:
    return entry.is_symlink() and os.path.realpath(entry.path) in around
