"""A training step that a GPU repeats without being told each of its thousands of kernels again: a CUDA graph.

A step of a supernet is thousands of small kernels, and launching them takes longer than computing them. Recorded once
and replayed, a step costs one launch. What a recording fixes: shapes, addresses and every number that Python knew at
the time. Those that change by the epoch, such as the learning rate, therefore lie on the device (``dial``), and one
recording serves all epochs that do the same on other numbers (``Recordings``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from nascommon.runtime import ranks

Step = Callable[..., tuple[Tensor, ...]]
"""Takes inputs, changes weights in place and returns tensors, without ever waiting for the device."""

WARM_UP = 2
"""Steps done as usual first: they make the optimisers' state and let the libraries choose their kernels."""

log = logging.getLogger(__name__)


class Input(Protocol):
    """Input of a step: a tensor, or several that travel together."""

    @property
    def shape(self) -> torch.Size:
        """Inputs of another shape need another recording."""
        ...

    @property
    def device(self) -> torch.device:
        """Device that it is on."""
        ...

    def clone(self) -> Self:
        """Return the same content in memory of its own."""
        ...

    def copy_(self, other: Any, /) -> Self:
        """Take over the content of another input of this kind and shape."""
        ...


class Recording(Protocol):
    """A step on fixed inputs that can be done again."""

    outputs: tuple[Tensor, ...]
    """Overwritten by every replay."""

    def replay(self) -> None:
        """Do the step again on what the inputs hold now."""
        ...


class CudaRecording:
    """A CUDA graph of a step; recording does not execute it."""

    def __init__(self, step: Step, inputs: tuple[Input, ...]) -> None:
        """Record ``step`` on ``inputs``, whose memory every replay reads, on the device where they are.

        Raises:
            RuntimeError: the step does what cannot be recorded, such as waiting for the device; it has changed nothing
                and can go on as it is.
        """
        # A pool of its own, named beforehand: where the recording fails, its memory can be given back by that name.
        device, pool = inputs[0].device, torch.cuda.graph_pool_handle()
        self.graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(device),
            _undone_where_it_fails(device, pool),
            torch.cuda.graph(
                self.graph,
                pool=pool,
                stream=_stream_of_recordings(device, torch.cuda.current_stream(device)),
                # Other threads may go on allocating, such as the one that pins the loader's batches.
                capture_error_mode="thread_local",
            ),
        ):
            self.outputs = step(*inputs)

    def replay(self) -> None:
        """Launch the graph."""
        self.graph.replay()


@cache
def _stream_of_recordings(device: torch.device, _replayed_on: torch.cuda.Stream) -> torch.cuda.Stream:
    """Return one stream for all recordings that are replayed on another: libraries keep a workspace for each they meet.

    Recordings made on one stream share that workspace, so what is replayed on several at the same time is not made on
    one.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def _undone_where_it_fails(device: torch.device, pool: torch.cuda._POOL_HANDLE) -> Iterator[None]:
    """Bring PyTorch back to where it was, if a recording fails: it would stay within it by half.

    Its allocator would believe in a recording for ever and refuse to free memory, the memory of this one would be lost,
    and in versions that keep the random offset of a recording with the generator, no eager step could draw any more
    ("Offset increment outside graph capture encountered unexpectedly").
    """
    generator, stream = torch.cuda.default_generators[device.index], torch.cuda.current_stream(device)
    before = generator.clone_state()
    try:
        yield
    # Ctrl-C, too, can end a recording; what runs after it (a checkpoint, the next try) needs a sound allocator.
    except BaseException:
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(before)
        with suppress(RuntimeError):  # no recording is under way: it ended in order, and the graph frees its memory
            torch._C._cuda_endAllocateToPool(device.index, pool)  # noqa: SLF001 -- only MemPool has a public way
            torch._C._cuda_releasePool(device.index, pool)  # noqa: SLF001
        raise


class Replay:
    """A step that is recorded after its first calls and replayed from then on; the results are those of the step.

    The returned tensors are overwritten by the next call. A step that cannot be recorded, or is called with other
    shapes, runs as usual.
    """

    def __init__(
        self,
        step: Step,
        *,
        steady: Callable[[], bool] = lambda: True,
        warm_up: int = WARM_UP,
        record: Callable[[Step, tuple[Input, ...]], Recording] = CudaRecording,
    ) -> None:
        """Wrap a step.

        Args:
            step: what to repeat.
            steady: whether the calls so far did the same operations on other numbers; asked before recording.
            warm_up: steps to be done as usual first; none where as many of the kind were done before in this process.
            record: makes a recording.
        """
        self._step, self._steady, self._warm_up, self._record = step, steady, warm_up, record
        self._calls = 0
        self._inputs: tuple[Input, ...] = ()
        self._recording: Recording | None = None
        self._cannot_record = False

    def __call__(self, *inputs: Input) -> tuple[Tensor, ...]:
        """Do one step."""
        self._calls += 1
        # Asked at every call, as a sampler may start to vary what is computed after the warm-up.
        if self._calls <= self._warm_up or self._cannot_record or not self._steady():
            return self._step(*inputs)
        # Recording does not execute the step, so the call that records also replays.
        if self._recording is None:
            self._start(inputs)
        # Shapes are fixed in a graph; a batch of another size runs as usual, on the same weights.
        if self._recording is None or any(a.shape != b.shape for a, b in zip(self._inputs, inputs, strict=True)):
            return self._step(*inputs)
        # The graph reads the addresses it was recorded with, so new values must come to the old memory.
        for mine, new in zip(self._inputs, inputs, strict=True):
            mine.copy_(new)
        self._recording.replay()
        return self._recording.outputs

    def _start(self, inputs: tuple[Input, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        try:
            self._recording = self._record(self._step, self._inputs)
        except RuntimeError as error:
            self._cannot_record = True
            reason = str(error).partition("\n")[0]
            log.warning("the step cannot be recorded as a CUDA graph and runs slower without: %s", reason)


class Recordings:
    """The steps of an optimiser as they are best repeated, epoch by epoch; those of a kind share one recording.

    The last one is kept, and with it, on a GPU, the memory of a step.
    """

    def __init__(self) -> None:
        self._warm: set[Hashable] = set()
        self._kind: Hashable = None
        self._step: Step | None = None

    def repeated(
        self, step: Step, device: torch.device, kind: Hashable, steady: Callable[[], bool] = lambda: True
    ) -> Step:
        """Return ``step`` as it is best repeated, or the one before it of the same kind.

        Args:
            step: the same for a kind, but for numbers that lie on the device.
            device: where it computes.
            kind: what else decides what a step computes. How cuDNN chooses its kernels belongs to it in any case.
            steady: as for ``Replay``.
        """
        kind = (kind, torch.backends.cudnn.benchmark)
        if self._step is None or kind != self._kind:
            self.drop()  # before another takes as much memory
            warm_up = 0 if kind in self._warm else WARM_UP
            self._kind, self._step = kind, replayed(step, device, steady, warm_up)
            self._warm.add(kind)
        return self._step

    def drop(self) -> None:
        """Give the memory of the recording back; the next step is recorded anew, without warming up again."""
        self._step = None


def replayed(
    step: Step, device: torch.device, steady: Callable[[], bool] = lambda: True, warm_up: int = WARM_UP
) -> Step:
    """Return ``step`` as it is best repeated on a device: replayed on a GPU, as it is elsewhere.

    A step that ranks share is not recorded: they wait for each other in it.
    """
    alone = ranks.share() == ranks.WHOLE
    return Replay(step, steady=steady, warm_up=warm_up) if device.type == "cuda" and alone else step
