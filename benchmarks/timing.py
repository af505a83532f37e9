"""Two ways to the same result are timed in turns, so that a busy machine slows both, and every pair gives a ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from nascommon.runtime.allocator import LARGEST_IN_HEAP, set_thresholds
from nascommon.runtime.hardware import describe
from nascommon.runtime.revision import revision

Step = Callable[[], object]
"""Does the work once."""
MEBIBYTE = 2**20
MILLI = 1e3
USUAL_TRIM = 2 * LARGEST_IN_HEAP
"""Free bytes at the end of the heap above which glibc gives them back, after it has seen large tensors come and go."""


@dataclass(frozen=True)
class Row:
    """One comparison; every ratio is baseline / ours, so above 1 ours is better."""

    case: str
    baseline: str
    ratio: float
    """Median over the pairs."""
    spread: tuple[float, float]
    """Lowest and highest ratio of a pair."""
    ours_ms: float
    baseline_ms: float
    peak_memory_ratio: float | None
    device: str
    commit: str
    batch: int
    repeats: int
    torch: str
    ours_mib: float | None
    """Peak of live tensor bytes above the start of the step."""
    baseline_mib: float | None
    operations_ratio: float | None
    ours_operations: int | None
    """Operators dispatched by a step, forward and backward."""
    baseline_operations: int | None


@dataclass(frozen=True)
class Case:
    """Comparison: ways to do the same work by name, the first of them the baseline.

    Attributes:
        name: as it stands in the rows.
        batch: images in a step.
        ways: each makes its step when the case starts; the first runs with glibc's own way of keeping freed memory,
            the others with ours.
        counted: whether memory and operations mean something, as where all work is done in this process.
    """

    name: str
    batch: int
    ways: Mapping[str, Callable[[], Step]]
    counted: bool = True


@dataclass(frozen=True)
class Measured:
    """Cost of one way: seconds of each repeat, peak bytes and operators of a step."""

    seconds: list[float]
    peak: int | None
    operations: int | None


def measure(case: Case, repeats: int, device: torch.device) -> list[Row]:
    """Compare every other way of a case to its first."""
    steps = {name: make() for name, make in case.ways.items()}
    seconds = interleaved(steps, repeats, device)
    measured = {
        name: Measured(
            seconds[name],
            peak_bytes(step, device) if case.counted else None,
            operations(step) if case.counted else None,
        )
        for name, step in steps.items()
    }
    baseline, *others = measured
    return [
        _row(case.name if len(others) == 1 else f"{case.name}: {name}", case.batch, baseline, measured[name],
             measured[baseline], device)
        for name in others
    ]  # fmt: skip


def _row(name: str, batch: int, baseline: str, ours: Measured, theirs: Measured, device: torch.device) -> Row:
    pairs = [their / our for our, their in zip(ours.seconds, theirs.seconds, strict=True)]
    return Row(
        case=name,
        baseline=baseline,
        ratio=median(pairs),
        spread=(min(pairs), max(pairs)),
        ours_ms=MILLI * median(ours.seconds),
        baseline_ms=MILLI * median(theirs.seconds),
        peak_memory_ratio=theirs.peak / ours.peak if theirs.peak and ours.peak else None,
        device=describe(device),
        commit=str(revision(Path(__file__).parent)),
        batch=batch,
        repeats=len(pairs),
        torch=torch.__version__,
        ours_mib=ours.peak / MEBIBYTE if ours.peak else None,
        baseline_mib=theirs.peak / MEBIBYTE if theirs.peak else None,
        operations_ratio=theirs.operations / ours.operations if theirs.operations and ours.operations else None,
        ours_operations=ours.operations,
        baseline_operations=theirs.operations,
    )


def interleaved(steps: Mapping[str, Step], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each repeat; every other round goes backwards, so that none always follows the same."""
    for step in steps.values():
        for _ in range(3 if device.type == "cuda" else 1):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats):
        for name in sorted(steps, key=list(steps).index, reverse=bool(repeat % 2)):
            set_thresholds(trim=USUAL_TRIM if name == next(iter(steps)) else -1)
            seconds[name].append(seconds_of(steps[name], device))
    return seconds


def seconds_of(step: Step, device: torch.device) -> float:
    """Return what one step takes from an idle device to an idle device."""
    synchronise(device)
    started = time.perf_counter()
    step()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(step: Step, device: torch.device) -> int:
    """Return the peak of live tensor bytes above those alive when the step starts.

    On a CPU the step may not count what it releases of those: the profiler has not seen them come.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(acc_events=True, activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    results: Any = profiler.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    return highest(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))


def highest(changes: Iterable[int]) -> int:
    """Replay allocations (positive) and releases (negative) and return the highest level above the start."""
    level = peak = 0
    for change in changes:
        level += change
        peak = max(peak, level)
    return peak


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator that reaches a device, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(step: Step) -> int:
    """Return how many ATen operators a step dispatches; views count, what a fused kernel does inside does not."""
    counter = _Counter()
    with counter:
        step()
    return counter.count


def table(rows: Iterable[Row]) -> str:
    """Write rows for people."""
    lines = [
        f"{'case':46} {'ratio':>6} {'spread':>13} {'ours ms':>9} {'base ms':>9} {'memory':>7} {'ops':>6}  baseline"
    ]
    for row in rows:
        spread = f"{row.spread[0]:.2f} .. {row.spread[1]:.2f}"
        lines.append(
            f"{row.case:46} {row.ratio:6.2f} {spread:>13} {row.ours_ms:9.1f} {row.baseline_ms:9.1f} "
            f"{_ratio(row.peak_memory_ratio):>7} {_ratio(row.operations_ratio):>6}  {row.baseline}, batch {row.batch}"
        )
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
