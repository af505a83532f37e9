"""Every figure looks the same on every machine: matplotlib's own defaults, no window, no date in the file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context

from nascommon.runtime.artefacts import write_bytes
from nascommon.settings import UserError

DOTS_PER_INCH = 300
"""Of a PNG, as print needs them."""
METADATA: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {"Software": None}}
"""Formats we write, and what would make two runs differ."""
STYLE = {
    "svg.hashsalt": "nascommon",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}
FAMILY_COLOURS = {
    "sep_conv": "#1b5fa6",
    "dil_conv": "#c4540a",
    "max_pool": "#23803a",
    "avg_pool": "#23803a",
    "skip": "#5f5f5f",
    "none": "#a8a8a8",
}
OTHER_COLOUR = "#7a3c9c"
DASHES = 4
"""Ways to draw a line, by which operations of one colour are told apart."""


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with our settings whatever the user's session has set, and leave theirs as they were."""
    with mpl.rc_context(), context(["default", STYLE]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure (inches) that no session keeps alive."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def figure_bytes(figure: Figure, suffix: str) -> bytes:
    """Return the figure as the bytes of a `.svg` or `.png` file: the same figure gives the same bytes."""
    if suffix not in METADATA:
        raise UserError(f"figure: suffix must be one of {', '.join(METADATA)}, got {suffix!r}")
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=suffix[1:], dpi=DOTS_PER_INCH, metadata=METADATA[suffix], facecolor="white")
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure atomically; the suffix (.svg or .png) decides the format."""
    write_bytes(path, figure_bytes(figure, path.suffix))


def operation_family(operation: str) -> str:
    """Return the family of an operation, whose name its own begins with; ``other`` for a family of its own."""
    return next((family for family in FAMILY_COLOURS if operation.startswith(family)), "other")


def operation_colour(operation: str) -> str:
    """Return the colour of an operation's family: separable, dilated, pooling, skip, other."""
    return FAMILY_COLOURS.get(operation_family(operation), OTHER_COLOUR)


def operation_dashes(operations: Sequence[str]) -> dict[str, int]:
    """Return for each operation which dash it is drawn with: no two of one colour share theirs, up to ``DASHES``."""
    colours: dict[str, list[str]] = {}
    for name in operations:
        colours.setdefault(operation_colour(name), []).append(name)
    return {name: colours[operation_colour(name)].index(name) % DASHES for name in operations}
