"""Several pieces of work in this process, a step of each in turn: a GPU computes them at the same time.

The kernels of a small network leave most of a GPU idle, and one process that launches for all is spared what a process
each costs: 10 to 40 seconds of loading libraries, and their memory. Every piece has a stream of its own, on which all
that it has lies; what PyTorch has once for all of them (random numbers, how kernels are chosen) is exchanged with every
turn, so a piece computes what it computes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Self

import torch
from torch import Tensor

from nascommon.runtime.executor import OnMessage, OnResult, Piece, Result, ignore
from nascommon.runtime.steps import Steps
from nascommon.settings import UserError

MOST_STREAMS = 15
"""PyTorch has 32 streams: each of so many takes one to compute on and one to record on, and one is left."""


@dataclass(frozen=True)
class Globals:
    """What PyTorch has once for a process, and a training changes.

    The state of a GPU's generator is exchanged and not copied: recorded steps read it where it lies.
    """

    random: Tensor
    random_on_gpu: torch.Generator | None
    tries_kernels: bool

    @classmethod
    def now(cls, device: torch.device) -> Self:
        """Return what holds now."""
        generator = _generator(device)
        return cls(
            torch.default_generator.get_state(),
            None if generator is None else generator.graphsafe_get_state(),
            torch.backends.cudnn.benchmark,
        )

    def own(self) -> Self:
        """Return the same with a state of the GPU's generator that nobody else has."""
        return self if self.random_on_gpu is None else replace(self, random_on_gpu=self.random_on_gpu.clone_state())

    def hold(self, device: torch.device) -> None:
        """Make it hold from here on."""
        torch.default_generator.set_state(self.random)
        if self.random_on_gpu is not None:
            torch.cuda.default_generators[device.index or 0].graphsafe_set_state(self.random_on_gpu)
        torch.backends.cudnn.benchmark = self.tries_kernels


def _generator(device: torch.device) -> torch.Generator | None:
    if device.type != "cuda":
        return None
    torch.cuda.init()  # type: ignore[no-untyped-call]  # before, there are none
    return torch.cuda.default_generators[device.index or 0]


@dataclass
class _Lane:
    """Where one piece after the other is done, the steps of the one under way, and what holds while it goes on."""

    device: torch.device
    stream: torch.cuda.Stream | None
    index: int = -1
    steps: Steps[Any] | None = None
    globals: Globals = field(init=False)

    def begin(self, index: int, steps: Steps[Any]) -> None:
        self.index, self.steps, self.globals = index, steps, Globals.now(self.device).own()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def step(self) -> None:
        """Do a step of the piece.

        Raises:
            StopIteration: it is done; the value is its result.
        """
        assert self.steps is not None
        self.globals.hold(self.device)
        with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            try:
                next(self.steps)
            finally:
                self.globals = Globals.now(self.device)

    def close(self) -> None:
        """Give up the piece under way, on its own stream, where its memory is."""
        if self.steps is not None:
            with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
                self.steps.close()


@dataclass(frozen=True)
class Interleaved:
    """Up to ``count`` pieces at a time, in this process, a step of each in turn; what does not pause runs to its end.

    Attributes:
        count: how many at a time; on a GPU up to ``MOST_STREAMS``.
        device: where they compute; on a GPU each on a stream of its own.
    """

    count: int
    device: torch.device

    def run(
        self, pieces: Sequence[Piece[Result]], *, on_message: OnMessage = ignore, on_result: OnResult[Result] = ignore
    ) -> list[Result]:
        """Do all pieces; see ``Executor``. What a piece raises comes through as it is.

        Raises:
            UserError: the memory of the GPU is full; the message names the piece.
        """
        waiting = deque(enumerate(pieces))
        results: dict[int, Result] = {}
        before = Globals.now(self.device)
        lanes = [_Lane(self.device, stream) for stream in _streams(self.device, min(self.count, len(pieces)))]
        try:
            for lane in lanes:
                _give(lane, waiting, on_message)
            while busy := [lane for lane in lanes if lane.steps is not None]:
                for lane in busy:
                    try:
                        lane.step()
                    except StopIteration as end:
                        results[lane.index] = end.value
                        on_result(lane.index, end.value)
                        _give(lane, waiting, on_message)
                    except torch.OutOfMemoryError as error:
                        reason = str(error).partition("\n")[0]
                        raise UserError(
                            f"{pieces[lane.index].name}: the memory of the GPU is full ({reason}) with {len(busy)} "
                            "networks at a time; set jobs to a lower number"
                        ) from error
        finally:
            for lane in lanes:
                lane.close()
            before.hold(self.device)
        return [results[index] for index in range(len(pieces))]


def _streams(device: torch.device, count: int) -> list[torch.cuda.Stream | None]:
    """Return what each of several computes on, the same ones whenever it is asked."""
    return [_stream(device, number) if device.type == "cuda" else None for number in range(count)]


@cache
def _stream(device: torch.device, _number: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _give(lane: _Lane, waiting: deque[tuple[int, Piece[Any]]], on_message: OnMessage) -> None:
    """Give a lane the next piece of work, or nothing more to do."""
    if not waiting:
        lane.steps = None
        return
    index, piece = waiting.popleft()
    lane.begin(index, piece.steps(partial(on_message, index)))
