"""What has a normal and a reduction cell, made from the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from nascommon.space.genotype import DARTS_KINDS

Cell = TypeVar("Cell")
Made = TypeVar("Made")


def two(of: Callable[[Iterable[tuple[str, Cell]]], Made], *cells: Cell) -> Made:
    """Return ``of`` the normal and the reduction cell, in this order."""
    return of(zip(DARTS_KINDS, cells, strict=True))
