"""Every picture is looked at before anything is trained, many at a time, and all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TypeVar

from nascommon.data.looks import Looks
from nascommon.data.pictures import Seen, decode_picture, read_header, some
from nascommon.runtime.executor import Piece, Tell, executor
from nascommon.runtime.hardware import cores
from nascommon.runtime.progress import progress
from nascommon.settings import UserError

CHUNK = 1024
PIECE = 256
"""Pictures that a process decodes before it reports: seconds of work, so that a process is fed rarely enough."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_headers(root: Path, names: Sequence[str]) -> Looks:
    """Check the header of every picture, in threads.

    Raises:
        UserError: some cannot be used; up to five are named with the reason.
    """
    return Looks.at(in_threads(lambda name: read_header(root / name), names), len(names))


def decode_all(root: Path, names: Sequence[str]) -> Looks:
    """Decode every picture once, in processes where there are many; on a terminal a line says how far it is.

    Raises:
        UserError: some cannot be used; up to five are named with the reason.
    """
    pieces = [
        Piece(f"{root / names[start]} and what follows", _look, (root, names[start : start + PIECE]))
        for start in range(0, len(names), PIECE)
    ]
    done = count(1)
    with progress("decoding every picture", 1, unit="pass") as shown:
        found = executor(min(cores(), len(pieces))).run(
            pieces, on_result=lambda _index, _found: shown.batch(next(done), len(pieces))
        )
    _refuse([error for _, errors in found for error in errors], len(names))
    return Looks.joined([looks for looks, _ in found])


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed in threads; at the end raise what went wrong, all at once.

    Raises:
        UserError: at least one call raised one; up to five messages, and how many there were.
    """
    guarded = _guarded(function)

    def results() -> Iterator[Result | UserError]:
        with ThreadPoolExecutor(max_workers=min(16, 4 * cores())) as pool:
            for start in range(0, len(items), CHUNK):
                yield from pool.map(guarded, items[start : start + CHUNK])

    errors: list[str] = []
    yield from _good(results(), errors)
    _refuse(errors, len(items))


def _look(root: Path, names: Sequence[str], _tell: Tell) -> tuple[Looks, list[str]]:
    """Decode some pictures below ``root`` and return what is wrong beside what was seen; a piece of work."""
    errors: list[str] = []

    def seen(name: str) -> Seen:
        return decode_picture(root / name).seen()

    return Looks.at(_good(map(_guarded(seen), names), errors), len(names)), errors


def _guarded(function: Callable[[Item], Result]) -> Callable[[Item], Result | UserError]:
    def guarded(item: Item) -> Result | UserError:
        try:
            return function(item)
        except UserError as error:
            return error

    return guarded


def _good(results: Iterable[Result | UserError], errors: list[str]) -> Iterator[Result]:
    """Yield what went well, and add to ``errors`` what did not."""
    for result in results:
        if isinstance(result, UserError):
            errors.append(str(result))
        else:
            yield result


def _refuse(errors: Sequence[str], total: int) -> None:
    if errors:
        raise UserError(f"{len(errors)} of {total} pictures cannot be used: {some(errors)}")
