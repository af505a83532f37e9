"""Names of a million files lie in one block of bytes, where as text each would be an object of its own."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload


class Names(Sequence[str]):
    """A list of names that takes their bytes and eight more for each.

    Attributes:
        block: all of them, one after the other, as they are on disk.
        ends: 0, then where each of them ends in the block [N + 1].
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.block, self.ends = bytearray(), array("q", [0])
        self.extend(names)

    def extend(self, names: Iterable[str]) -> None:
        """Add names at the end, one at a time."""
        for name in names:
            self.block += os.fsencode(name)
            self.ends.append(len(self.block))

    @classmethod
    def of(cls, block: bytearray, ends: array[int]) -> Names:
        """Return names that were taken apart."""
        names = cls()
        names.block, names.ends = block, ends
        return names

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice) -> Names: ...
    def __getitem__(self, rows: int | slice) -> str | Names:
        row = range(len(self))[rows]
        if isinstance(row, range):
            return Names(map(self.__getitem__, row))
        return self._at(self.ends[row], self.ends[row + 1])

    def __iter__(self) -> Iterator[str]:
        return (self._at(start, end) for start, end in pairwise(self.ends))

    def _at(self, start: int, end: int) -> str:
        return os.fsdecode(bytes(self.block[start:end]))
