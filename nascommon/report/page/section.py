"""What a section of the page is made of: sentences, pictures and tables, or the reason why it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from markupsafe import Markup

Row = Sequence[str]


@dataclass(frozen=True)
class Key:
    """An entry of a legend: the class of what it explains, and what that is."""

    class_: str
    words: str


@dataclass(frozen=True)
class Picture:
    """A picture with a heading, a legend and a sentence below.

    Attributes:
        svg: the picture.
        heading: above it.
        caption: below it.
        keys: its legend.
        shape: ``wide`` needs the whole width, and on a phone it can be pushed sideways; ``tiles`` are many small ones.
    """

    svg: Markup
    heading: str = ""
    caption: str = ""
    keys: tuple[Key, ...] = ()
    shape: Literal["plain", "wide", "tiles"] = "plain"


@dataclass(frozen=True)
class Table:
    """A table of texts; ``numbers`` are the columns that are set flush right."""

    head: Row
    rows: Sequence[Row]
    caption: str = ""
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: its anchor.
        title: its heading.
        text: sentences above the pictures, a paragraph each.
        pictures: in the order shown.
        tables: below the pictures.
        items: a list below the tables.
        film: data of a film, which the page's script shows.
        missing: why there is nothing to show.
        sources: files that it was made of.
    """

    id: str
    title: str
    text: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    items: tuple[str, ...] = ()
    film: dict[str, Any] | None = None
    missing: str = ""
    sources: tuple[str, ...] = field(default=())

    def of(self, sources: Sequence[str]) -> Section:
        """Return the section with the files that it was made of."""
        return replace(self, sources=tuple(sources))
