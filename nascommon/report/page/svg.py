"""Inline SVG that follows the page's colours: shapes carry classes, so light, dark and print are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

Range = tuple[float, float]
LARGEST = 1.35
"""Pixels of a unit at most, so that letters stay letters."""
FAR = 5.0
"""Values further below the median than so many times what the best twentieth is above it press all others together."""
FINE = 1e-9
"""Smaller steps than this part of an axis are rounding."""


class Svg:
    """A picture of so many units; text in it is escaped where it is written out."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """Begin an empty picture.

        Args:
            width: in units of the picture.
            height: the same.
            label: what it shows, for those who do not see it.
        """
        self.width, self.height = width, height
        self.root = Element(
            "svg",
            {
                "viewBox": f"0 0 {width:g} {height:g}",
                "role": "img",
                "class": "picture",
                "aria-label": label,
                "style": f"max-width:{LARGEST * width:.0f}px",
            },
        )

    def add(self, tag: str, text: str | None = None, *, hint: str | None = None, **attributes: object) -> Element:
        """Add a shape; ``class_`` is its class, ``stroke_width`` its stroke-width, ``hint`` appears under a pointer."""
        names = {name.rstrip("_").replace("_", "-"): _written(value) for name, value in attributes.items()}
        shape = SubElement(self.root, tag, names)
        shape.text = text
        if hint is not None:
            SubElement(shape, "title").text = hint
        return shape

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        """Draw a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)

    def text(self, x: float, y: float, text: str, class_: str = "", anchor: str = "middle") -> None:
        """Write a text; ``y`` is its baseline."""
        self.add("text", text, x=x, y=y, class_=class_, text_anchor=anchor)

    def markup(self) -> Markup:
        """Return the picture for a page."""
        return Markup(tostring(self.root, encoding="unicode"))  # noqa: S704 -- ElementTree has escaped it


def _written(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def ticks(limits: Range, count: int = 5, *, whole: bool = False) -> list[float]:
    """Return round values within the limits, about so many."""
    low, high = limits
    found = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    slack = FINE * (high - low)
    return [float(value) for value in found if low - slack <= value <= high + slack]


def padded(values: Sequence[float], share: float = 0.06) -> Range:
    """Return limits with some room around the values; a single value has some, too."""
    low, high = min(values), max(values)
    room = share * (high - low) or abs(high) * share or 1.0
    return low - room, high + room


def in_sight(values: ArrayLike) -> float:
    """Return from where on values are drawn: the least, or what leaves out a tail far below all others."""
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.0, 0.5, 0.95])
    return max(float(low), float(middle - FAR * (high - middle)))


@dataclass(frozen=True)
class Axes:
    """A rectangle of a picture in which values have places.

    Attributes:
        svg: the picture.
        left: of the rectangle, in units of the picture; so are the next three.
        top: the upper border.
        width: of the rectangle.
        height: of the rectangle.
        x: values at the left and right border.
        y: values at the lower and upper border.
    """

    svg: Svg
    left: float
    top: float
    width: float
    height: float
    x: Range
    y: Range

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pair of values is."""
        return self.across(x), self.up(y)

    def across(self, x: float) -> float:
        """Return where a value of x is."""
        return self.left + self.width * (x - self.x[0]) / (self.x[1] - self.x[0])

    def up(self, y: float) -> float:
        """Return where a value of y is."""
        return self.top + self.height * (1 - (y - self.y[0]) / (self.y[1] - self.y[0]))

    @property
    def bottom(self) -> float:
        """The lower border."""
        return self.top + self.height

    def y_axis(self, label: str, count: int = 5, *, whole: bool = False) -> None:
        """Draw lines and numbers of y; the label stands above them."""
        for value in ticks(self.y, count, whole=whole):
            y = self.up(value)
            self.svg.line(self.left, y, self.left + self.width, y, "grid")
            self.svg.text(self.left - 5, y + 3.5, f"{value:g}", "tick", "end")
        self.svg.text(4, self.top - 9, label, "label", "start")

    def x_axis(self, label: str, count: int = 6, *, whole: bool = False) -> None:
        """Draw the line and numbers of x; the label stands below them."""
        self.svg.line(self.left, self.bottom, self.left + self.width, self.bottom, "axis")
        for value in ticks(self.x, count, whole=whole):
            x = self.across(value)
            self.svg.line(x, self.bottom, x, self.bottom + 3, "axis")
            self.svg.text(x, self.bottom + 14, f"{value:g}", "tick")
        self.svg.text(self.left + self.width / 2, self.bottom + 28, label, "label")

    def path(self, xs: Sequence[float], ys: Sequence[float | None], class_: str, hint: str | None = None) -> None:
        """Draw a line through the points; where y is None it passes on to the next."""
        points = [self.at(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]
        if len(points) == 1:
            self.svg.add("circle", cx=points[0][0], cy=points[0][1], r=2, class_=f"{class_} dot", hint=hint)
        elif points:
            self.svg.add(
                "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=f"{class_} line", hint=hint
            )

    def dot(self, x: float, y: float, class_: str, r: float = 3.0, hint: str | None = None) -> None:
        """Draw a point."""
        across, up = self.at(x, y)
        self.svg.add("circle", cx=across, cy=up, r=r, class_=class_, hint=hint)

    def whisker(self, x: float, low: float, high: float, class_: str = "whisker") -> None:
        """Draw an upright error bar."""
        across = self.across(x)
        self.svg.line(across, self.up(low), across, self.up(high), class_)
        for end in (low, high):
            self.svg.line(across - 4, self.up(end), across + 4, self.up(end), class_)

    def span(self, y: float, low: float, high: float, class_: str = "whisker") -> None:
        """Draw a level error bar."""
        up = self.up(y)
        self.svg.line(self.across(low), up, self.across(high), up, class_)
        for end in (low, high):
            self.svg.line(self.across(end), up - 4, self.across(end), up + 4, class_)

    def star(self, x: float, y: float, hint: str | None = None) -> None:
        """Mark the winner."""
        across, up = self.at(x, y)
        shape = "M0,-8 L2.1,-2.6 L7.8,-2.4 L3.3,1.2 L4.8,6.8 L0,3.6 L-4.8,6.8 L-3.3,1.2 L-7.8,-2.4 L-2.1,-2.6 Z"
        self.svg.add("path", d=shape, transform=f"translate({across:.1f} {up:.1f})", class_="winner", hint=hint)
