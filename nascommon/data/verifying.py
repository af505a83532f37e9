"""Every picture is looked at before anything is trained, many at a time, and all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nascommon.data.pictures import Seen, decode_picture, read_header, some
from nascommon.runtime.crew import side_by_side
from nascommon.runtime.hardware import cores
from nascommon.runtime.progress import progress
from nascommon.settings import UserError

CHUNK = 1024
TASK = 256
"""Pictures that a process decodes before it reports: seconds of work, so that a process is fed rarely enough."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_headers(root: Path, names: Sequence[str]) -> list[Seen]:
    """Check the header of every picture, in threads.

    Raises:
        UserError: some cannot be used; up to five are named with the reason.
    """
    return list(in_threads(lambda name: read_header(root, name), names))


def decode_all(root: Path, names: Sequence[str]) -> list[Seen]:
    """Decode every picture once, in processes where there are many; on a terminal a line says how far it is.

    Raises:
        UserError: some cannot be used; up to five are named with the reason.
    """
    tasks = [tuple(names[start : start + TASK]) for start in range(0, len(names), TASK)]
    looks: list[list[Seen | UserError]] = [[] for _ in tasks]
    look, processes = _Look(root), min(cores(), len(tasks))
    with progress("decoding every picture", 1, unit="pass") as shown:

        def done(index: int, found: list[Seen | UserError]) -> None:
            looks[index] = found
            shown.batch(sum(map(bool, looks)), len(tasks))

        if processes == 1:
            for index, task in enumerate(tasks):
                done(index, look(task))
        else:
            side_by_side(
                tasks, look, processes=processes, name=lambda task: f"{root / task[0]} and what follows",
                on_message=lambda index, content: None, on_result=done,
            )  # fmt: skip
    return list(_good([found for look in looks for found in look], len(names)))


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

    yield from _good(results(), len(items))


@dataclass(frozen=True)
class _Look:
    """Decodes some pictures below ``root``; sent to other processes."""

    root: Path

    def __call__(self, names: tuple[str, ...], tell: Callable[[Any], None] | None = None) -> list[Seen | UserError]:
        del tell
        return [_guarded(self._one)(name) for name in names]

    def _one(self, name: str) -> Seen:
        return decode_picture(self.root / name).seen(name)


def _guarded(function: Callable[[Item], Result]) -> Callable[[Item], Result | UserError]:
    def guarded(item: Item) -> Result | UserError:
        try:
            return function(item)
        except UserError as error:
            return error

    return guarded


def _good(results: Iterable[Result | UserError], total: int) -> Iterator[Result]:
    """Yield what went well, and at the end raise what did not."""
    errors: list[str] = []
    for result in results:
        if isinstance(result, UserError):
            errors.append(str(result))
        else:
            yield result
    if errors:
        raise UserError(f"{len(errors)} of {total} pictures cannot be used: {some(errors)}")
