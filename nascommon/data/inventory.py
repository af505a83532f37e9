"""Files are told apart by their content, which is read again only where size or times of a file have changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nascommon.data.listing import Names
from nascommon.data.members import member_of
from nascommon.data.pictures import DIGEST_BYTES
from nascommon.data.walk import files_below, is_picture
from nascommon.runtime.atomic import atomic
from nascommon.settings import UserError

CACHE = "gapless-nas/inventory"
"""Below the user's folder of caches: what all projects and experiments know of files, one of it for each folder."""
SETTLED = 2 * 10**9
"""Nanoseconds: a file changed more recently may change again within the resolution of its times; it is not noted."""
THREADS = 16
"""Hashing and reading let other threads run, and a disk far away answers many at a time."""
PART = 2**22
"""Bytes of a file that are read at a time."""
CHUNK = 100
"""Files that a thread is given at a time."""
AHEAD = 2**14
"""Files whose results may wait to be taken."""
LATEST = 2**63 - 1
"""Nanoseconds since 1970, a day in 2262; some file systems know later ones."""

Stamp = tuple[int, int, int]
"""Size in bytes, and the times in nanoseconds of the last change of content (mtime) and of anything else (ctime).

The second tells of tools that set the first one back, and of a file that took another one's name.
"""
NOTE = np.dtype([("name", f"S{DIGEST_BYTES}"), ("stamp", "<i8", 3), ("digest", "u1", DIGEST_BYTES)])
"""What is noted of a file, as many bytes as of any other: digest of its name, stamp, digest of its content."""
Notes = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Item = TypeVar("Item")
Result = TypeVar("Result")


def file_digests(root: Path, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return a digest of the content of each file below ``root`` [N, D]; one that cannot be read has that of nothing.

    What was read is noted in the user's folder of caches, so that a file that did not change is not read again.
    """
    known, notes = _noted(root), np.zeros(len(names), NOTE)
    with ThreadPoolExecutor(THREADS) as pool:
        for row, looked_at in enumerate(_chunkwise(lambda name: _look(root, name), names, pool)):
            notes[row] = looked_at
        places_N = _places(known, notes)
        same_N = places_N >= 0
        same_N[same_N] = (known["stamp"][places_N[same_N]] == notes["stamp"][same_N]).all(1)
        notes["digest"][same_N] = known["digest"][places_N[same_N]]
        new = np.flatnonzero(~same_N)
        read = _chunkwise(lambda row: _digest(f"{root}/{names[row]}"), new, pool)
        done = 0
        try:
            for at, digest in zip(new, _watched(read, len(new)), strict=True):
                notes["digest"][at] = np.frombuffer(digest, np.uint8)
                done += 1
        finally:  # also what was read until Ctrl-C
            _note(root, known, notes, places_N, new[:done])
    return notes["digest"].copy()


def inventory(root: Path, counts: Callable[[str], bool] = is_picture) -> tuple[int, str]:
    """Return how many files that count lie in and below ``root``, and a digest (hex) of their names and contents.

    Raises:
        UserError: a folder cannot be read.
    """
    names = Names(filter(counts, files_below(root)))
    whole = hashlib.sha256()
    for name, digest in zip(names, file_digests(root, names), strict=True):
        whole.update(os.fsencode(name) + b"\0" + digest.tobytes())
    return len(names), whole.hexdigest()


def _chunkwise(
    work: Callable[[Item], Result], items: Sequence[Item] | npt.NDArray[Any], pool: ThreadPoolExecutor
) -> Iterator[Result]:
    """Yield ``work(item)`` in order; a thread is given some at a time, for a million of tasks are slow to hand out."""
    for first in range(0, len(items), AHEAD):
        ahead = items[first : first + AHEAD]
        chunks = (ahead[start : start + CHUNK] for start in range(0, len(ahead), CHUNK))
        for results in pool.map(lambda chunk: list(map(work, chunk)), chunks):
            yield from results


def _watched(digests: Iterator[bytes], total: int) -> Iterator[bytes]:
    """Pass on what is read; on a terminal a line says how far it is."""
    if not total:
        return
    from nascommon.runtime.progress import progress  # not needed where nothing has changed

    with progress("reading pictures", 1, unit="pass") as shown:
        for done, digest in enumerate(digests, 1):
            shown.batch(done, total)
            yield digest


def _look(root: Path, name: str) -> tuple[bytes, Stamp, int]:
    """Return a note of a file that has not been read."""
    return _hash(os.fsencode(name)), _stamp(f"{root}/{name}"), 0


def _stamp(path: str) -> Stamp:
    member = member_of(path)
    try:
        status = os.stat(member.file if member else path)  # noqa: PTH116 -- a Path for each of a million names is slow
    except OSError:
        return (-1, 0, 0)
    return status.st_size, min(status.st_mtime_ns, LATEST), min(status.st_ctime_ns, LATEST)


def _digest(path: str) -> bytes:
    content, member = hashlib.blake2b(digest_size=DIGEST_BYTES), member_of(path)
    with suppress(OSError):
        if member:
            content.update(member.read())
        else:
            with open(path, "rb") as file:  # noqa: PTH123 -- as above
                while part := file.read(PART):  # a shard is a gigabyte and more, and many are read at a time
                    content.update(part)
    return content.digest()


def _noted(root: Path) -> Notes:
    """Return what is known of the files below ``root``; nothing where the notes cannot be read."""
    try:
        return np.frombuffer(_notes(root).read_bytes(), NOTE)
    except (OSError, ValueError, RuntimeError):  # the last where nobody knows the user's home
        return np.empty(0, NOTE)


def _places(known: Notes, notes: Notes) -> Rows:
    """Return the row of ``known`` [K] that each note [N] has the name of, -1 where there is none."""
    if not len(known):
        return np.full(len(notes), -1)
    order_K = np.argsort(known["name"])
    places_N = order_K[np.searchsorted(known["name"], notes["name"], sorter=order_K) % len(known)]
    return np.where(known["name"][places_N] == notes["name"], places_N, -1)


def _note(root: Path, known: Notes, notes: Notes, places_N: Rows, new: Rows) -> None:
    """Write what is known; a folder of caches that cannot be written costs time only, at the next call."""
    settled = new[notes["stamp"][new, 1:].max(1, initial=0) < time.time_ns() - SETTLED]
    if not len(settled):
        return
    old_K = np.ones(len(known), bool)
    old_K[places_N[settled][places_N[settled] >= 0]] = False
    with suppress(UserError, RuntimeError), atomic(_notes(root)) as part, part.open("wb") as file:
        known[old_K].tofile(file)
        notes[settled].tofile(file)


def _notes(root: Path) -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / CACHE / _hash(os.fsencode(os.path.realpath(root))).hex()


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
