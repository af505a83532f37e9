"""Files are told apart by their content, which is read again only where size or times of a file have changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

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

Stamp = tuple[int, int, int]
"""Size in bytes, and the times in nanoseconds of the last change of content (mtime) and of anything else (ctime).

The second tells of tools that set the first one back, and of a file that took another one's name.
"""
Item = TypeVar("Item")
Result = TypeVar("Result")
Known = dict[bytes, tuple[Stamp, bytes]]
"""Stamp and digest by name."""


def file_digests(root: Path, names: Sequence[str]) -> list[bytes]:
    """Return a digest of the content of each file below ``root``; one that cannot be read has that of nothing.

    What was read is noted in the user's folder of caches, so that a file that did not change is not read again.
    """
    known, keys = _noted(root), [os.fsencode(name) for name in names]
    fresh: Known = {}
    with ThreadPoolExecutor(THREADS) as pool:
        stamps = list(_chunkwise(lambda name: _stamp(f"{root}/{name}"), names, pool))
        new = [row for row, key in enumerate(keys) if key not in known or known[key][0] != stamps[row]]
        read = _chunkwise(lambda row: _digest(f"{root}/{names[row]}"), new, pool)
        try:
            for row, digest in zip(new, _watched(read, len(new)), strict=True):
                fresh[keys[row]] = stamps[row], digest
        finally:  # also what was read until Ctrl-C
            _note(root, known, fresh)
    known |= fresh
    return [known[key][1] for key in keys]


def inventory(root: Path, counts: Callable[[str], bool] = is_picture) -> tuple[int, str]:
    """Return how many files that count lie in and below ``root``, and a digest (hex) of their names and contents.

    Raises:
        UserError: a folder cannot be read.
    """
    names = list(filter(counts, files_below(root)))
    whole = hashlib.sha256()
    for name, digest in zip(names, file_digests(root, names), strict=True):
        whole.update(os.fsencode(name) + b"\0" + digest)
    return len(names), whole.hexdigest()


def _chunkwise(work: Callable[[Item], Result], items: Sequence[Item], pool: ThreadPoolExecutor) -> Iterator[Result]:
    """Yield ``work(item)`` in order; a thread is given some at a time, for a million of tasks are slow to hand out."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
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


def _stamp(path: str) -> Stamp:
    member = member_of(path)
    try:
        status = os.stat(member.file if member else path)  # noqa: PTH116 -- a Path for each of a million names is slow
    except OSError:
        return (-1, 0, 0)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


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


def _noted(root: Path) -> Known:
    """Return what is known of the files below ``root``; nothing where the notes cannot be read."""
    try:
        rows = _notes(root).read_bytes().split(b"\0")[:-1]
        fields = [row.split(b" ", 4) for row in rows]
        return {
            name: ((int(size), int(changed), int(touched)), bytes.fromhex(digest.decode()))
            for size, changed, touched, digest, name in fields
        }
    except (OSError, ValueError, RuntimeError):  # the last where nobody knows the user's home
        return {}


def _note(root: Path, known: Known, fresh: Known) -> None:
    """Write what is known; a folder of caches that cannot be written costs time only, at the next call."""
    limit = time.time_ns() - SETTLED
    settled = {key: value for key, value in fresh.items() if max(value[0][1:]) < limit}
    if not settled:
        return
    entries = (known | settled).items()
    # A row at a time: together they would take as much memory as what they say.
    rows = (b"%d %d %d %s %s\0" % (*stamp, digest.hex().encode(), name) for name, (stamp, digest) in entries)
    with suppress(UserError, RuntimeError), atomic(_notes(root)) as part, part.open("wb") as file:
        file.writelines(rows)


def _notes(root: Path) -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=DIGEST_BYTES).hexdigest()
    return Path(folder) / CACHE / name
