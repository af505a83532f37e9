"""The functions of a search are replaced by ones that also look at the clock, and its loop stays as it is."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.timing import synchronise
from nascommon.data.batch import Batch
from nascommon.data.batches import Batches
from nascommon.data.task import Task
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.runtime.replay import CudaRecording, Replay
from nascommon.search import loop, passes, watch

REST = "the rest"
PARTS: dict[tuple[Any, str], str] = {
    (loop, "new_state"): "supernet construction",
    (passes, "weight_step"): "weight steps",
    (passes, "descend"): "weight steps",
    (passes, "architecture_step"): "architecture steps",
    (loop, "supernet_scores"): "validation",
    (passes, "supernet_scores"): "validation",
    (loop, "collapse_signs"): "watch, gap",
    (watch, "hessian_eigenvalue"): "watch, eigenvalue",
    (loop, "architecture_snapshot"): "history",
    (Checkpoint, "save"): "checkpoints",
    (Replay, "_start"): "recording",
    (CudaRecording, "replay"): "replayed steps",
}
"""Parts by the place that calls them. On a GPU most steps are replayed, those of both kinds together."""


class Clock:
    """Adds up the seconds of parts; a part inside of another stops the other's clock."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._open = [REST]
        self._last = time.perf_counter()

    def start(self) -> None:
        """Forget everything and start anew."""
        synchronise(self._device)
        self.seconds.clear()
        self._last = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the time inside of the ``with`` to ``name``."""
        self.turn()
        self._open.append(name)
        try:
            yield
        finally:
            self.turn()
            self._open.pop()

    def turn(self) -> None:
        """Give the time since the last turn to the part that is open."""
        if self._device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return  # nothing is computed yet, and waiting would spoil the recording: it counts as one part
        synchronise(self._device)
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._last
        self._last = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, its time given to ``name``."""

        def run(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return run


@dataclass(frozen=True)
class TimedBatches:
    """Batches whose making is the part ``data``."""

    batches: Batches
    clock: Clock

    @property
    def task(self) -> Task:
        """Task that the labels are for."""
        return self.batches.task

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        inner = self.batches.epoch(key, share)
        while True:
            with self.clock.part("data"):
                batch = next(inner, None)
            if batch is None:
                return
            yield batch


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Time every part of the searches that run inside of the ``with``."""
    with ExitStack() as stack:
        for (owner, name), part in PARTS.items():
            stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        clock.start()
        yield
        clock.turn()
