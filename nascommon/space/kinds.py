"""A value for each kind of cell: a small frozen mapping in the order of the space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def cell_of(kind: str) -> str:
    """Name a cell of a kind in a sentence: ``normal cell``; the only kind of a space may be ``cell`` itself."""
    return kind if kind == "cell" else f"{kind} cell"


class PerKind(Mapping[str, T]):
    """A value for each kind of cell, such as ``normal`` and ``reduction``; frozen, and hashable where its values are.

    The first kind is the one that most cells of a network are.
    """

    def __init__(self, values: Mapping[str, T] | Iterable[tuple[str, T]]) -> None:
        self._values = dict(values)

    def __getitem__(self, kind: str) -> T:
        return self._values[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PerKind) and type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return tuple(self._values.items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    @property
    def main_kind(self) -> str:
        """Name of the kind that most cells of a network are."""
        return next(iter(self._values))

    @property
    def main(self) -> T:
        """Value of that kind."""
        return self._values[self.main_kind]
