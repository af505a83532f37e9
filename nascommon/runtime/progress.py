"""A person sees one line per epoch, when the stage will end, and at the end where everything lies."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nascommon.runtime.workload import Workload

WIDTH: Final = 100
_REFRESH_SECONDS: Final = 0.2
_RECENT: Final = 5
"""Epochs whose mean time gives the ETA: phases differ in cost, so old epochs say little."""
Each = Callable[[Sequence[float]], Sequence[float]]
"""From the seconds of the last epochs to those of a next one, one value or the least and the most."""
_MINUTE: Final = 60.0
_RARER: Final = 0.1
"""A file is told of a long unit every minute, and after hours when so large a part of its time has passed again."""


class Lines:
    """Where lines go: to a file as they are, on a terminal above a live line."""

    def __init__(self, live: Live | None) -> None:
        self._live = live
        self._refreshed = time.monotonic()

    def print(self, line: str) -> None:
        """Print a line that stays."""
        if self._live is None:
            self._refreshed = time.monotonic()
            print(line, flush=True)
            return
        self._live.update(Text(""))
        self._live.console.print(Text(line), no_wrap=True, overflow="ellipsis")

    def say(self, text: str) -> None:
        """Print a sentence, on as many lines as it needs."""
        for line in textwrap.wrap(_printable(text), WIDTH, subsequent_indent="  "):
            self.print(line)

    def show(self, words: Callable[[float], Sequence[str]], every: float = math.inf) -> None:
        """Renew the live line by the words of this moment, if it is time; a file gets a line after so many seconds."""
        now = time.monotonic()
        if now - self._refreshed < (every if self._live is None else _REFRESH_SECONDS):
            return
        self._refreshed = now
        line = "  ".join(word for word in words(now) if word)
        if self._live is None:
            self.print(line)
        else:
            self._live.update(Text(line, style="dim"), refresh=True)


class Progress:
    """Prints the epochs of one loop; on a terminal a live line shows the epoch that is under way."""

    def __init__(self, title: str, total: int, unit: str, lines: Lines, each: Each) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._unit = unit
        self._lines = lines
        self._each = each
        self._began = time.monotonic()
        self._whole = True
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self.say = lines.say

    def resume(self, done: int) -> None:
        """Say that an earlier process has done so many epochs."""
        self._done = done
        self._lines.print(f"{self._title}: continuing after {self._unit} {done} of {self._total}")

    def step(self, epoch: int, figures: Mapping[str, str], note: str = "") -> None:
        """Print the line of an epoch that has ended.

        Args:
            epoch: Its index; the first is 0 and is shown as 1.
            figures: What to show, the most important first; those that do not fit on the line are left out.
            note: A few words at the end of the line.
        """
        now = time.monotonic()  # unlike time.time() it never jumps, when the machine's clock is set
        took = f"{duration(now - self._began)}/{self._unit}" if self._whole else ""
        if self._whole:
            self._seconds.append(now - self._began)
        self._began, self._whole = now, True
        self._done = epoch + 1
        tail = [took, self._eta(0.0), _printable(note)]
        self._lines.print(_fitted(self._head(self._done), figures, tail))

    def batch(self, done: int, total: int) -> None:
        """Show how far the epoch under way is; costs nothing in a file, and little on a terminal."""
        part = done / max(total, 1)
        self._lines.show(
            lambda now: [
                self._head(self._done + 1),
                f"{part:4.0%}",
                f"{duration(now - self._began)} so far",
                self._eta(part),
            ]
        )

    def under_way(self, what: Callable[[], str]) -> None:
        """Show what a unit of minutes or hours is at: on a terminal at once, in a file a line a minute, later rarer."""
        spent = time.monotonic() - self._began

        def words(now: float) -> Sequence[str]:
            so_far = f"{duration(now - self._began)} so far" if self._whole else ""
            return [self._head(self._done + 1), _printable(what()), so_far, self._eta(0.0, spent)]

        self._lines.show(words, max(_MINUTE, _RARER * spent))

    def tells_nothing(self) -> None:
        """Note that the time of the unit under way says nothing of others, as when an earlier process began it."""
        self._whole = False

    def _head(self, count: int) -> str:
        return _head(self._title, self._unit, count, self._total)

    def _eta(self, part: float, spent: float = 0.0) -> str:
        """Time left, when `part` or some seconds of an epoch are done; empty while nothing is known or left."""
        seconds = self._seconds or ([(time.monotonic() - self._began) / part] if part else [])
        if not seconds:
            return ""
        left = [each * (self._total - self._done - part) - spent for each in self._each(seconds)]
        words = list(dict.fromkeys(duration(one) for one in left if one > 0))
        if not words:
            return ""
        return f"eta {'' if left[0] > 0 else 'up to ' * (len(left) > 1)}{' to '.join(words)}"


class Pieces:
    """Prints pieces of work, one by one or side by side, as they end; on a terminal a live line shows those under way.

    The time that a line gives per piece is the mean over all that were done here, however many at a time.
    """

    def __init__(self, title: str, work: Workload, unit: str, lines: Lines) -> None:
        self._title = title
        self._unit = unit
        self._work = work
        self._lines = lines
        self.say = lines.say

    def resume(self, done: int) -> None:
        """Say that an earlier process has done so many pieces; each of them ends all the same, at once."""
        self._lines.print(f"{self._title}: continuing after {self._unit} {done} of {self._work.total}")

    def part(self, index: int, done: int, of: int) -> None:
        """Note that a piece has finished its part number ``done`` of so many, each of which must be told."""
        self._work.part(index, done, of, time.monotonic())
        self._lines.show(
            lambda now: [
                f"{_head(self._title, self._unit, self._work.ended, self._work.total)} done",
                f"{len(self._work.shares)} under way",
                f"{duration(now - self._work.began)} so far",
                self._eta(),
            ]
        )

    def end(self, index: int, figures: Mapping[str, str], note: str = "") -> None:
        """Print the line of a piece that has ended; see ``Progress.step``."""
        now = time.monotonic()
        self._work.end(index, now)
        each = self._work.seconds_each(now)
        tail = ["" if each is None else f"{duration(each)}/{self._unit}", self._eta(), _printable(note)]
        self._lines.print(_fitted(_head(self._title, self._unit, self._work.ended, self._work.total), figures, tail))

    def _eta(self) -> str:
        left = self._work.seconds_left()
        return "" if left is None else f"eta {duration(left)}"


def mean_alone(seconds: Sequence[float]) -> Sequence[float]:
    """Take the next epochs to be as long as the last ones were on average."""
    return (sum(seconds) / len(seconds),)


def fastest_to_slowest(seconds: Sequence[float]) -> Sequence[float]:
    """Take the next units to be as long as any of the last ones: of few that differ, a mean would pretend to know."""
    return min(seconds), max(seconds)


@contextmanager
def progress(title: str, total: int, *, unit: str = "epoch", each: Each = mean_alone) -> Iterator[Progress]:
    """Follow a loop of `total` epochs; `each` says how long the next ones will take, by the last ones.

    On a terminal the last line is live. Elsewhere (a file, a pipe, TERM=dumb) there is one plain line per epoch.
    """
    with _lines() as lines:
        yield Progress(title, total, unit, lines, each)


@contextmanager
def pieces(title: str, total: int, *, unit: str, at_a_time: int) -> Iterator[Pieces]:
    """Follow `total` pieces of work, up to ``at_a_time`` of them side by side; prints as ``progress`` does."""
    with _lines() as lines:
        yield Pieces(title, Workload(total, at_a_time, time.monotonic()), unit, lines)


@contextmanager
def _lines() -> Iterator[Lines]:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield Lines(None)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Lines(live)


def summary(title: str, rows: Mapping[str, str], paths: Sequence[Path]) -> None:
    """Print what a stage found and where it lies: a title, `name  value` lines, and the paths, one per line."""
    print("", *summary_lines(title, rows), sep="\n")
    for path in paths:
        print(f"  -> {_printable(_relative_path(path))}")
    sys.stdout.flush()


def summary_lines(title: str, rows: Mapping[str, str]) -> list[str]:
    """Return the lines of a title and of `name  value` pairs, folded to the width of a terminal."""
    # Names need not be printable: file names may hold escape sequences that would act on the terminal.
    indent = max((len(name) for name in rows), default=0) + 4
    lines = [_printable(title)]
    for name, value in rows.items():
        start = f"  {_printable(name)}".ljust(indent)
        lines.append(textwrap.fill(_printable(value), WIDTH, initial_indent=start, subsequent_indent=" " * indent))
    return lines


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.8s, 12s, 3m05s, 2h07m."""
    if seconds < 9.95:  # noqa: PLR2004 - below ten seconds, as rounded, a decimal tells something
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def number(value: float) -> str:
    """Write a number that is neither a share nor a difference of shares, such as a loss."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"  # noqa: PLR2004 - readable range


def percent(share: float) -> str:
    """Write an accuracy or another share."""
    return f"{100 * share:.2f} %"


def points(difference: float) -> str:
    """Write a difference of two shares: 3 % less than 50 % are 48.5 %, 3 points less are 47 %."""
    return f"{100 * difference:+z.1f} points"


def share_worse(percentile: float) -> str:
    """Write how many percent are worse, downwards to a decimal: none but all is 100 %."""
    return f"{math.floor(10 * percentile) / 10:g} %"


def _head(title: str, unit: str, count: int, total: int) -> str:
    return f"{title} {unit} {count:>{len(str(total))}}/{total}"


def _fitted(head: str, figures: Mapping[str, str], tail: Sequence[str]) -> str:
    """Join with two blanks, leaving out the last figures until the line fits; the note is cut only after that."""
    shown, words = [f"{name} {_printable(value)}" for name, value in figures.items()], [word for word in tail if word]
    for keep in range(len(shown), -1, -1):
        line = "  ".join([head, *shown[:keep], *words])
        if len(line) <= WIDTH:
            return line
    return "  ".join([head, *words])[: WIDTH - 3] + "..."


def _relative_path(path: Path) -> str:
    """The path from the working directory where it lies inside."""
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def epoch_figures(figures: Mapping[str, float | None]) -> dict[str, str]:
    """Return accuracies and training loss of an epoch as its line and the stage's summary write them."""
    written = (("train_accuracy", "train acc", percent), ("valid_accuracy", "valid acc", percent),
               ("train_loss", "train loss", number))  # fmt: skip
    return {label: write(value) for name, label, write in written if (value := figures.get(name)) is not None}
