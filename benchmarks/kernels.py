"""Work of a device in a step: its kernels, how long it waits between them, what share of its bandwidth it uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.timing import Step, seconds_of, synchronise

MILLI_OF_MICRO = 1e-3
GIGA = 1e9
LONGEST = 24
"""Kinds of kernels that are named, those that take the most time."""
COPIED = {"cuda": 2**29, "cpu": 2**24}
"""Bytes of the copy that the bandwidth is measured with."""
COPIES = 5

Interval = tuple[float, float]


def profiled(step: Step, device: torch.device) -> dict[str, Any]:
    """Return what the device does in a step, in milliseconds; on a CPU operators stand for kernels."""
    kind = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    step()
    synchronise(device)
    with profile(activities=[kind], acc_events=True) as profiler:
        step()
        synchronise(device)
    there = [event for event in profiler.events() or [] if event.device_type.name == device.type.upper()]
    # What PyTorch only gives a name, such as the step of an optimiser, spans the kernels inside of it.
    kernels = [event for event in there if not event.is_user_annotation]
    return summary([(event.name, (event.time_range.start, event.time_range.end)) for event in kernels])


def summary(kernels: Sequence[tuple[str, Interval]]) -> dict[str, Any]:
    """Count named intervals, given in microseconds.

    Raises:
        ValueError: there is none.
    """
    if not kernels:
        raise ValueError("the profiler saw no kernel: it may need a permission, or CUPTI is missing")
    intervals = [interval for _, interval in kernels]
    span = max(end for _, end in intervals) - min(start for start, _ in intervals)
    busy = covered(intervals)
    of_a_kind: Counter[str] = Counter()
    for name, (start, end) in kernels:
        of_a_kind[name] += end - start  # type: ignore[assignment]
    return {
        "kernels": len(kernels),
        "span_ms": MILLI_OF_MICRO * span,
        "busy_ms": MILLI_OF_MICRO * busy,
        "gap_ms": MILLI_OF_MICRO * (span - busy),
        "gap_share": (span - busy) / span if span else 0.0,
        "longest": [
            {"name": name, "ms": MILLI_OF_MICRO * spent, "calls": sum(1 for other, _ in kernels if other == name)}
            for name, spent in of_a_kind.most_common(LONGEST)
        ],
    }


def covered(intervals: Iterable[Interval]) -> float:
    """Return the length of the union."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of what every operator reads and writes; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += bytes_of((args, kwargs)) + bytes_of(result)
        return result


def bytes_of(tree: Any) -> int:
    """Return the bytes of all tensors in a tree, each once."""
    tensors = {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def traffic(step: Step) -> int:
    """Return the bytes that a step's operators read and write if no cache helps them; not that of a recorded step."""
    with _Traffic() as counted:
        step()
        total: int = counted.bytes
    return total


def bandwidth(device: torch.device) -> float:
    """Return the bytes a second that a copy on the device reads and writes: the fastest of some."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() / min(seconds_of(lambda: target.copy_(source), device) for _ in range(COPIES))


def profile_of(eager: Step, repeated: Step, device: torch.device) -> dict[str, Any]:
    """Return the profiles of a step, eager and as it is repeated, and what share of the bandwidth its traffic is.

    The share is of the time in which kernels run. It may exceed one, where caches serve what counts as traffic.
    """
    profiles = {"eager": profiled(eager, device), "repeated": profiled(repeated, device)}
    moved, most = traffic(eager), bandwidth(device)
    for each in profiles.values():
        each["bandwidth_share"] = moved / (each["busy_ms"] / 1e3) / most if each["busy_ms"] else None
    return {**profiles, "traffic_gb": moved / GIGA, "copy_gb_per_second": most / GIGA}
