"""Files are told apart by their content, which is read again only where size or times of a file have changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

DIGEST_BYTES = 16
"""Of a hash that tells pictures apart; two of 10**7 different ones agree by chance in one of 10**24 cases."""
CACHE = "gapless-nas/inventory"
"""Below the user's folder of caches: what all projects and experiments know of files, one of it for each folder."""
SETTLED = 2 * 10**9
"""Nanoseconds: a file changed more recently may change again within the resolution of its times; it is not noted."""
THREADS = 16
"""Hashing and reading let other threads run, and a disk far away answers many at a time."""

Stamp = tuple[int, int, int]
"""Size in bytes, and the times in nanoseconds of the last change of content (mtime) and of anything else (ctime).

The second tells of tools that set the first one back, and of a file that took another one's name.
"""
Known = dict[bytes, tuple[Stamp, bytes]]
"""Stamp and digest by name."""


def file_digests(root: Path, names: Sequence[str]) -> list[bytes]:
    """Return a digest of the content of each file below ``root``; one that cannot be read has that of nothing.

    What was read is noted in the user's folder of caches, so that a file that did not change is not read again.
    """
    known = _noted(root)
    with ThreadPoolExecutor(THREADS) as pool:
        stamps = list(pool.map(lambda name: _stamp(root / name), names))
        keys = [os.fsencode(name) for name in names]
        new = [row for row, key in enumerate(keys) if key not in known or known[key][0] != stamps[row]]
        read = list(pool.map(lambda row: _digest(root / names[row]), new))
    fresh = {keys[row]: (stamps[row], digest) for row, digest in zip(new, read, strict=True)}
    limit = time.time_ns() - SETTLED
    if settled := {key: value for key, value in fresh.items() if max(value[0][1:]) < limit}:
        _note(root, known | settled)
    known |= fresh
    return [known[key][1] for key in keys]


def inventory(root: Path, suffixes: frozenset[str]) -> tuple[int, str]:
    """Return how many files with one of these suffixes lie in and below ``root``, and a digest of names and contents.

    Hidden ones are left out, links are followed, but no folder twice on one path; a folder that is not there is empty.
    """
    names = sorted(name for name in _walk(root, root, ()) if Path(name).suffix.lower() in suffixes)
    whole = hashlib.sha256()
    for name, digest in zip(names, file_digests(root, names), strict=True):
        whole.update(os.fsencode(name) + b"\0" + digest)
    return len(names), whole.hexdigest()


def _walk(root: Path, folder: Path, above: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of all files below ``root``, with forward slashes."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _walk(root, folder / entry.name, (*above, real))
        else:
            yield (folder / entry.name).relative_to(root).as_posix()


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return (-1, 0, 0)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> bytes:
    content = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with suppress(OSError):
        content.update(path.read_bytes())
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
    except (OSError, ValueError):
        return {}


def _note(root: Path, known: Known) -> None:
    """Write what is known; a folder of caches that cannot be written costs time only, at the next call."""
    rows = [b"%d %d %d %s %s\0" % (*stamp, digest.hex().encode(), name) for name, (stamp, digest) in known.items()]
    path = _notes(root)
    part = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"".join(rows))
        part.replace(path)


def _notes(root: Path) -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=DIGEST_BYTES).hexdigest()
    return Path(folder) / CACHE / name
