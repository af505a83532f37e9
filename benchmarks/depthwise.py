"""Banks of depthwise convolutions on a GPU: our kernels, cut in several ways, against cuDNN on the maps of real steps.

    python -m benchmarks.depthwise --out depthwise.json --seconds 60

Every pass is recorded several times over in a CUDA graph and replayed, so that no call is waited for. First all maps
are computed by the way that launches are cut today and compared with PyTorch's own operators in float32, then cuDNN,
which tries out its kernels, is timed on the largest cases, then other ways to cut; what finds no time is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch import Tensor
from torch.nn import functional

from benchmarks.counts import BYTES_PER_SECOND
from benchmarks.gate import exact_numbers
from benchmarks.timing import synchronise
from nascommon.kernels import bank_launch
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.bank_launch import CUT, Cut
from nascommon.kernels.depthwise import repeat_channels
from nascommon.runtime.artefacts import write_json

RECORDED, REPLAYED = 10, 3
"""Times that a pass stands in a graph, and that the graph is replayed for a measurement."""
MICRO = 1e6
PASSES = ("forward", "input", "kernels")
CLOSE = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}
"""Allowed distance of a result from that in float32, as a share of its length."""
CUTS = {
    "1 kernel": replace(CUT, groups=1),
    "4 kernels": replace(CUT, groups=4),
    "2 channels": replace(CUT, vec=2),
    "8 pixels": replace(CUT, times=8),
    "64 vectors, 2 warps": replace(CUT, vectors=64, warps=2),
    "256 vectors, 8 warps": replace(CUT, vectors=256, warps=8),
    "width 4": replace(CUT, width=4),
    "256 programs": replace(CUT, programs=256),
    "1024 programs": replace(CUT, programs=1024),
}
"""Other ways to cut, by name."""


@dataclass(frozen=True)
class Case:
    """A bank on a map [batch, channels of a kind, side, side].

    Attributes:
        name: of the step that it is part of.
        bank: what is computed.
        batch: images.
        channels: of a kind's input.
        side: height and width of the input.
    """

    name: str
    bank: Bank
    batch: int
    channels: int
    side: int

    def __str__(self) -> str:
        kinds = " ".join(f"{kind.side}x{kind.side}/{kind.dilation}x{kind.groups}" for kind in self.bank.kinds)
        own = "" if self.bank.shared else " own"
        return f"{self.name} {self.batch}x{self.channels}x{self.side}x{self.side} s{self.bank.stride} {kinds}{own}"


def cases() -> Iterator[Case]:
    """Yield those of DARTS, of retraining and of PC-DARTS, those that take longest first."""
    groups = 4
    for name, batch, first in (("darts", 64, 16), ("pcdarts", 256, 4)):
        for times, side, stride in ((1, 32, 1), (2, 16, 1), (4, 8, 1), (2, 32, 2)):
            own, dilated = ([Kind(kernel, dilation, groups) for kernel in (3, 5)] for dilation in (1, 2))
            yield Case(name, Bank(tuple(own), stride), batch, times * first, side)
            yield Case(name, Bank(tuple(dilated), stride), batch, times * first, side)
            if stride == 1:
                yield Case(name, Bank((Kind(3, 1), Kind(5, 1)), shared=False), batch, groups * times * first, side)
        if name == "darts":
            yield Case("retrain", Bank((Kind(3, 1),)), 96, 36, 32)
            yield Case("retrain", Bank((Kind(3, 1),)), 96, 144, 8)
            yield Case("retrain", Bank((Kind(3, 1, 3),)), 96, 36, 32)
            yield Case("retrain", Bank((Kind(3, 1),)), 96, 180, 32)


class Tensors:
    """The numbers of a case."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        draws = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
        bank, C = case.bank, case.channels

        def pixels(channels: int, side: int) -> Tensor:
            shape = (case.batch, side, side, channels)
            return torch.randn(shape, generator=draws, device=device).to(dtype).permute(0, 3, 1, 2)

        self.bank = bank
        self.x = pixels(C if bank.shared else C * len(bank.kinds), case.side).requires_grad_()
        self.kernels = torch.randn(bank.taps * C, generator=draws, device=device).requires_grad_()
        self.slope = pixels(bank.groups * C, bank.size(self.x)[-1])

    def ours(self) -> dict[str, Callable[[], object]]:
        """Return the passes by name."""
        x, kernels, bank, slope = self.x.detach(), self.kernels.detach(), self.bank, self.slope
        return {
            "forward": lambda: beside([(bank, x, kernels)]),
            "input": lambda: bank_launch.input_gradient(slope, (bank, x, kernels, 0), torch.empty_like(x), adds=False),
            "kernels": lambda: bank_launch.kernel_gradients(slope, [(bank, x, kernels, 0)]),
        }

    def theirs(self) -> dict[str, Callable[[], object]]:
        """Return the same by PyTorch's operators on maps that are rectified and repeated already."""
        C, places = self.bank.channels(self.x), range(len(self.bank.kinds))
        x = self.x.detach().relu()
        inputs = [x] * len(places) if self.bank.shared else torch.split(x, C, dim=1)
        widths = [kind.groups * C for kind in self.bank.kinds]
        slopes = [each.contiguous(memory_format=torch.channels_last) for each in torch.split(self.slope, widths, dim=1)]
        whole = [
            repeat_channels(each, width).contiguous(memory_format=torch.channels_last)
            for each, width in zip(inputs, widths, strict=True)
        ]
        kernels = [
            each.new_ones(each.shape[1], 1, kind.side, kind.side)
            for each, kind in zip(whole, self.bank.kinds, strict=True)
        ]
        geometry = [
            ([self.bank.stride] * 2, [kind.dilation * (kind.side // 2)] * 2, [kind.dilation] * 2)
            for kind in self.bank.kinds
        ]

        def gradients(mask: list[bool]) -> None:
            for i in places:
                torch.ops.aten.convolution_backward(
                    slopes[i], whole[i], kernels[i], None, *geometry[i], False, [0, 0], widths[i], mask
                )

        return {
            "forward": lambda: [functional.conv2d(whole[i], kernels[i], None, *geometry[i], widths[i]) for i in places],
            "input": lambda: gradients([True, False, False]),
            "kernels": lambda: gradients([False, True, False]),
        }

    def errors(self) -> dict[str, float]:
        """Return how far our results lie from those of PyTorch in float32, as shares of their length."""
        wide = [each.detach().float().requires_grad_() for each in (self.x, self.kernels)]
        with exact_numbers():
            out = self.bank.plain(*wide)
            expected = (out, *torch.autograd.grad(out, wide, self.slope.float()))
        found = beside([(self.bank, self.x, self.kernels)])
        found_all = (found, *torch.autograd.grad(found, (self.x, self.kernels), self.slope))
        return {
            name: float((mine.detach().float() - other.detach()).norm() / other.detach().norm())
            for name, mine, other in zip(PASSES, found_all, expected, strict=True)
        }

    def bytes(self) -> dict[str, int]:
        """Return what a pass has to read and write at least."""
        x, out = (each.numel() * each.element_size() for each in (self.x, self.slope))
        return {"forward": x + out, "input": 2 * x + out, "kernels": x + out}


@contextmanager
def cut_as(cut: Cut) -> Iterator[None]:
    """Let launches be cut in a certain way inside of the ``with``."""
    with patch.object(bank_launch, "CUT", cut):
        yield


def microseconds(work: Callable[[], object]) -> float:
    """Return the time that work takes of a GPU, recorded in a graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # compiled, or tried out
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(RECORDED):
            work()
    graph.replay()
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(REPLAYED):
        graph.replay()
    stop.record()
    stop.synchronize()
    return float(1e3 * start.elapsed_time(stop) / (RECORDED * REPLAYED))


class Table:
    """What was measured so far; the file is whole after every figure."""

    def __init__(self, out: Path | None, seconds: float, device: torch.device) -> None:
        self.out, self.device, self.end = out, device, time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = []

    def over(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() > self.end

    def add(self, case: object, way: str, **found: Any) -> None:
        """Take a row, and print it."""
        self.rows.append({"case": str(case), "way": way, **found})
        figures = " ".join(f"{name} {value:.4g}" for name, value in found.items() if isinstance(value, float))
        typer.echo(f"{case} | {way} | {figures}")
        if self.out is not None:
            card = torch.cuda.get_device_name(self.device)
            write_json(self.out, {"card": card, "torch": torch.__version__, "cut": asdict(CUT), "rows": self.rows})


def measure(table: Table, case: Case) -> bool:
    """Compare a case with PyTorch and time it; return whether it is right."""
    tensors = Tensors(case, table.device)
    started = time.monotonic()
    errors = tensors.errors()
    synchronise(table.device)
    compiled = time.monotonic() - started
    floor = {f"{name}_floor": MICRO * size / BYTES_PER_SECOND for name, size in tensors.bytes().items()}
    times = {name: microseconds(work) for name, work in tensors.ours().items()}
    table.add(
        case, "ours", **times, **floor, **{f"{name}_error": error for name, error in errors.items()}, first_s=compiled
    )
    return all(error < CLOSE[tensors.x.dtype] for error in errors.values())  # false for NaN


def compare(table: Table, case: Case) -> None:
    """Time what cuDNN takes for it, without the ReLU, the repetitions and the concatenation that it needs besides."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True):
        table.add(
            case, "cudnn", **{name: microseconds(work) for name, work in Tensors(case, table.device).theirs().items()}
        )


def recut(table: Table, case: Case, name: str) -> None:
    """Time a case cut in another way, those passes that it changes."""
    cut = CUTS[name]
    changed = ["kernels"] if replace(cut, width=CUT.width, programs=CUT.programs) == CUT else list(PASSES)
    with cut_as(cut):
        works = Tensors(case, table.device).ours()
        table.add(case, name, **{each: microseconds(works[each]) for each in changed})


def run(seconds: float, out: Path | None, device: torch.device) -> bool:
    """Measure until the time is up, and return whether all that was compared is right."""
    table, listed = Table(out, seconds, device), list(cases())
    right = [measure(table, case) for case in listed if not table.over()]
    first, others = [case for case in listed if case.name == "darts" and case.bank.stride == 1], CUTS
    for name in others:
        for case in first[:3] + first[-3:]:
            if not table.over():
                recut(table, case, name)
    for case in listed:
        if not table.over():
            compare(table, case)
    return all(right)


def on_a_gpu(run: Callable[[float, Path | None, torch.device], bool], seconds: float, out: Path | None) -> None:
    """Run a benchmark on the GPU; the status is 1 where a result is wrong, and 2 where there is no GPU."""
    if not torch.cuda.is_available():
        raise typer.BadParameter("there is no GPU to measure")
    if not run(seconds, out, torch.device("cuda")):
        raise typer.Exit(1)


def main(
    out: Annotated[Path | None, typer.Option(help="JSON file of all figures")] = None,
    seconds: Annotated[float, typer.Option(help="after which nothing new begins")] = 60,
) -> None:
    """Compare our depthwise kernels with cuDNN's; the status is 1 where a result is wrong."""
    on_a_gpu(run, seconds, out)


if __name__ == "__main__":
    typer.run(main)
