"""Settings are typed once, cannot be changed, and refuse a typo."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nascommon.secrets import masked

MOST_LINES = 50
"""Mistakes told at once; nobody mends more at a time."""
LONGEST_LINE = 1000
"""Characters; what is quoted is cut in the middle, for the end says what to do."""


class UserError(ValueError):
    """Something the user can mend; its message names file, key, value got and values allowed.

    Stages print it and exit with status 2, without a traceback. Each argument is one line, whatever line breaks and
    control characters the names in it hold; passwords are masked, and what is too long is cut.
    """

    def __init__(self, *lines: str) -> None:
        """Tell one or several mistakes, a line each."""
        if len(lines) > MOST_LINES + 1:
            lines = (*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} more")
        super().__init__(*map(one_line, lines))

    def __str__(self) -> str:
        """Return all lines."""
        return "\n".join(self.args)


def one_line(text: str) -> str:
    """Return a text as it may be printed in a line: escaped what would break it, masked what is secret, and cut."""
    shown = "".join(letter if letter.isprintable() else _escape(letter) for letter in masked(text))
    return cut(shown, LONGEST_LINE)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def cut(text: str, longest: int = 60) -> str:
    """Return a text that is too long without its middle."""
    if len(text) <= longest:
        return text
    head = (longest - 3) * 2 // 3
    return f"{text[:head]}...{text[head + 3 - longest :]}"


def nearest(word: str, known: list[str]) -> str:
    """Return the end of a complaint about a word that is none of those known: which one may be meant, and all."""
    close = difflib.get_close_matches(word, known)
    close.sort(key=lambda name: sorted(name) != sorted(word))  # two letters swapped are the likeliest slip
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known are {', '.join(known)}" if close else f"; known are {', '.join(known)}" if known else ""


class Settings(BaseModel):
    """Base of every section of ``params.yaml``: strict types, frozen, unknown keys refused."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree of settings by dotted key: ``search.channels``."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def by_kind(*sections: type[Settings]) -> BeforeValidator:
    """Read one of several sections that differ in their ``kind``; the kind alone stands for its defaults.

    It belongs beside ``Field(discriminator="kind")`` in the annotation of their union.
    """
    kinds = [section.model_fields["kind"].default for section in sections]
    allowed = f"must be {' or '.join([', '.join(map(repr, kinds[:-1])), repr(kinds[-1])])}"

    def spelled_out(value: Any) -> Any:
        if isinstance(value, Settings):
            return value
        tree = value if isinstance(value, dict) else {"kind": value}
        if tree.get("kind") in kinds:
            return tree
        if tree is not value:
            raise ValueError(allowed)
        raise ValueError(
            f"kind: {allowed} (got {json.dumps(tree['kind'], default=str)})"
            if "kind" in tree
            else f"kind: is missing; {allowed}"
        )

    return BeforeValidator(spelled_out)


Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A whole number from 1 to a million, where no narrower unit below fits."""
Whole = Annotated[int, Field(ge=0, le=1_000_000)]
"""A whole number from 0 to a million, where no narrower unit below fits."""
Epochs = Annotated[int, Field(ge=1, le=100_000)]
FEWEST_IN_BATCH_NORM = 2
"""Images that batch norm must see at a time: of one, nothing varies where a feature map is a single pixel."""
BatchSize = Annotated[int, Field(ge=FEWEST_IN_BATCH_NORM, le=65_536)]
"""Images of a batch."""
Pieces = Annotated[int, Field(ge=1, le=32_768)]
"""Number of pieces that a batch is cut into."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Pixels."""
Margin = Annotated[int, Field(ge=0, le=4096)]
"""Pixels; 0 is none."""
Channels = Annotated[int, Field(ge=1, le=4096)]
AddedChannels = Annotated[int, Field(ge=0, le=4096)]
Cells = Annotated[int, Field(ge=1, le=1000)]
SearchCells = Annotated[int, Field(ge=3, le=1000)]
"""Depth of a supernet. With fewer than 3 cells all are reduction cells, and the normal cell would learn nothing."""
MOST_PHASES = 100
"""Largest number of phases of a search; each has a supernet of its own."""
Nodes = Annotated[int, Field(ge=1, le=32)]
"""Intermediate nodes of a cell; its edges grow with their square."""
Images = Annotated[int, Field(ge=1, le=1_000_000_000)]
Processes = Annotated[int, Field(ge=0, le=1024)]
Threads = Annotated[int, Field(ge=1, le=1024)]
"""Threads or processes at a time; more than the largest machines have would be refused by the system."""
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
"""A rate, factor or norm."""
NonNegative = Annotated[float, Field(ge=0, le=1_000_000)]
Divisor = Annotated[float, Field(ge=1e-6, le=1_000_000)]
"""A temperature, radius or what else float32 tensors are divided by: of less than about 1e-38 float32 makes 0, and what
it divides becomes infinite long before, which would be told as a divergence."""
WeightDecay = Annotated[float, Field(ge=0, le=1)]
"""Factor of the weights in their gradient. A step multiplies weights by 1 - rate x decay, which grows without end where
that is below -1."""
Probability = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
"""A share that leaves something on both sides."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def check_pieces(pieces: int, batch_size: int) -> None:
    """Refuse pieces of a batch that are too small for batch norm.

    Raises:
        ValueError: naming the key and the most pieces that are possible.
    """
    most = batch_size // FEWEST_IN_BATCH_NORM
    if pieces > most:
        raise ValueError(
            f"pieces: must leave batch norm at least {FEWEST_IN_BATCH_NORM} images of a batch of {batch_size}, so be "
            f"at most {most} (got {pieces})"
        )
