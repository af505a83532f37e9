"""Pools on a GPU: one launch for both of a state, and one for their gradient, against PyTorch's on the maps of steps.

    python -m benchmarks.pools --out pools.json

PyTorch's are given what they need there: two pools written beside others, whose gradients are cut from those of all,
divided by the pixels of a window, and added to another one of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from benchmarks.counts import BYTES_PER_SECOND
from benchmarks.depthwise import CLOSE, MICRO, Table, microseconds, on_a_gpu
from benchmarks.timing import synchronise
from nascommon.kernels.average import AveragePool
from nascommon.kernels.pools import Pools, forward, gradient

PASSES = ("forward", "input")


@dataclass(frozen=True)
class Case:
    """Both pools of a state [batch, channels, side, side], written behind ``columns`` times its channels."""

    name: str
    batch: int
    channels: int
    side: int
    stride: int
    columns: int = 16

    def __str__(self) -> str:
        return f"{self.name} {self.batch}x{self.channels}x{self.side}x{self.side} s{self.stride} pools"


def cases() -> Iterator[Case]:
    """Yield those of DARTS and of PC-DARTS."""
    for name, batch, first in (("darts", 64, 16), ("pcdarts", 256, 4)):
        for times, side, stride in ((1, 32, 1), (2, 16, 1), (4, 8, 1), (2, 32, 2), (4, 16, 2)):
            yield Case(name, batch, times * first, side, stride)


class Tensors:
    """The numbers of a case."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        draws = torch.Generator(device).manual_seed(0)

        def pixels(channels: int, side: int) -> Tensor:
            shape = (case.batch, side, side, channels)
            return torch.randn(shape, generator=draws, device=device).to(dtype).permute(0, 3, 1, 2)

        self.pools = Pools((nn.MaxPool2d(3, case.stride, 1), AveragePool(3, case.stride, 1)))
        self.x = pixels(case.channels, case.side)
        side = self.pools.size(self.x)[-1]
        self.out, self.slope = ((pixels((case.columns + 2) * case.channels, side)) for _ in range(2))
        self.onto, self.start = pixels(case.channels, case.side), case.columns * case.channels

    def ours(self) -> dict[str, Callable[[], Tensor]]:
        """Return the passes by name."""
        out, slope = self.out[:, self.start :], self.slope[:, self.start :]
        taps = forward(self.pools, self.x, out)

        def written() -> Tensor:
            forward(self.pools, self.x, out)
            return out

        def gathered() -> Tensor:
            gradient(self.pools, slope, taps, self.onto, adds=True)
            return self.onto

        return {"forward": written, "input": gathered}

    def theirs(self) -> dict[str, Callable[[], Tensor]]:
        """Return the same by PyTorch's operators."""
        C, (most, mean) = self.x.shape[1], self.pools.modules
        (given := self.x.detach()).requires_grad_()
        with torch.enable_grad():
            outs = [most(given), mean(given)]

        def written() -> Tensor:
            with torch.no_grad():
                for place, module in enumerate(self.pools.modules):
                    self.out[:, self.start + place * C :][:, :C].copy_(module(self.x))
            return self.out[:, self.start :]

        def gathered() -> Tensor:
            slopes = torch.split(self.slope[:, self.start :], C, dim=1)
            of_each = [
                torch.autograd.grad(out, given, slope, retain_graph=True)[0]
                for out, slope in zip(outs, slopes, strict=True)
            ]
            return self.onto + of_each[0] + of_each[1]

        return {"forward": written, "input": gathered}

    def bytes(self) -> dict[str, int]:
        """Return what a pass has to read and write at least; the place of a maximum is a byte."""
        x, out = (each.numel() * each.element_size() for each in (self.x, self.slope[:, self.start :]))
        places = self.slope[:, self.start :].numel() // 2
        return {"forward": x + out + places, "input": 2 * x + out + places}


def errors(case: Case, device: torch.device) -> dict[str, float]:
    """Return how far our results lie from those of PyTorch, as shares of their length."""
    tensors = Tensors(case, device)
    onto = tensors.onto.clone()
    expected = {name: work().clone().float() for name, work in tensors.theirs().items()}
    found = {name: work().clone().float() for name, work in tensors.ours().items()}
    tensors.onto.copy_(onto)
    return {name: float((found[name] - expected[name]).norm() / expected[name].norm()) for name in PASSES}


def measure(table: Table, case: Case) -> bool:
    """Compare a case with PyTorch and time both; return whether it is right."""
    far, tensors = errors(case, table.device), Tensors(case, table.device)
    synchronise(table.device)
    floor = {f"{name}_floor": MICRO * size / BYTES_PER_SECOND for name, size in tensors.bytes().items()}
    ways = {"ours": tensors.ours(), "torch": tensors.theirs()}
    for way, passes in ways.items():
        more = {**floor, **{f"{name}_error": error for name, error in far.items()}} if way == "ours" else {}
        table.add(case, way, **{name: microseconds(work) for name, work in passes.items()}, **more)
    return all(error < CLOSE[tensors.x.dtype] for error in far.values())  # false for NaN


def run(seconds: float, out: Path | None, device: torch.device) -> bool:
    """Measure until the time is up, and return whether all that was compared is right."""
    table = Table(out, seconds, device)
    right = [measure(table, case) for case in cases() if not table.over()]
    return all(right)


def main(
    out: Annotated[Path | None, typer.Option(help="JSON file of all figures")] = None,
    seconds: Annotated[float, typer.Option(help="after which nothing new begins")] = 30,
) -> None:
    """Compare our pools with PyTorch's; the status is 1 where a result is wrong."""
    on_a_gpu(run, seconds, out)


if __name__ == "__main__":
    typer.run(main)
