"""How far pieces of work are that are done side by side, how long one takes, and when all will be done.

A piece that ends a moment after another took no moment: rates are means over everything that was done here, and what an
earlier process did counts in neither the time nor the rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heapreplace


@dataclass
class Workload:
    """So many equal pieces, so many of them at a time; every moment is in seconds of one clock.

    Attributes:
        total: pieces in all.
        at_a_time: most pieces that are under way together.
        began: when the work began.
        ended: pieces that have ended.
        shares: of pieces under way that have said so, the share that is done, by index of the piece.
        worked: pieces' worth of work that was done since ``began``.
        busy: seconds that workers had something to do since ``began``, all workers together.
    """

    total: int
    at_a_time: int
    began: float
    ended: int = 0
    shares: dict[int, float] = field(default_factory=dict)
    worked: float = 0.0
    busy: float = 0.0

    def __post_init__(self) -> None:
        self._looked = self.began

    def part(self, index: int, done: int, of: int, now: float) -> None:
        """Hear that a piece has finished its part number ``done`` of so many equal ones."""
        self._look(now)
        self.worked += 1 / of
        self.shares[index] = done / of

    def end(self, index: int, now: float) -> None:
        """Hear that a piece has ended."""
        self._look(now)
        self.ended += 1
        self.shares.pop(index, None)

    def seconds_each(self, now: float) -> float | None:
        """Return the mean seconds from the end of one piece to that of the next; None before any work was done."""
        return (now - self.began) / self.worked if self.worked else None

    def seconds_left(self) -> float | None:
        """Return the seconds until the last piece ends; None before any work was done, or when nothing is left.

        Pieces under way go on where they are, and each that waits goes to the worker that is free first.
        """
        if not self.worked or self.ended == self.total:
            return None
        loads = [1 - share for share in self.shares.values()]
        waiting = self.total - self.ended - len(loads)
        loads += [0.0] * (self.at_a_time - len(loads))
        heapify(loads)
        for _ in range(waiting):
            heapreplace(loads, loads[0] + 1)
        return max(loads) * self.busy / self.worked

    def _look(self, now: float) -> None:
        self.busy += (now - self._looked) * min(self.at_a_time, self.total - self.ended)
        self._looked = now
