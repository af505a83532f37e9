"""Batch norms on a GPU: two launches, and two for the gradient, against PyTorch's on the maps of steps.

    python -m benchmarks.batch_norms --out batch_norms.json

Either reads a map for its sums and again for what it writes; the floor counts both, and caches may go below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.counts import BYTES_PER_SECOND
from benchmarks.depthwise import CLOSE, MICRO, Table, microseconds, on_a_gpu
from benchmarks.timing import synchronise
from nascommon.kernels.batch_norm_launch import forward, gradients

EPS = 1e-5
PASSES = ("forward", "gradient")
MAPS = {"forward": 3, "gradient": 5}
"""How often a pass reads or writes a map."""
PLACES = {
    "darts": [(64, 288, 32), (64, 576, 16), (64, 1152, 8), (64, 128, 32), (64, 512, 8), (64, 64, 8), (64, 16, 32)],
    "pcdarts": [(256, 72, 32), (256, 144, 16), (256, 288, 8), (256, 16, 32), (256, 8, 32)],
    "retrain": [(96, 180, 32), (96, 720, 8), (96, 36, 32)],
}
"""Batch, channels and side of maps of real steps."""


@dataclass(frozen=True)
class Case:
    """A map [batch, channels, side, side]; that of a training has scale and shift."""

    name: str
    batch: int
    channels: int
    side: int

    def __str__(self) -> str:
        return f"{self.name} {self.batch}x{self.channels}x{self.side}x{self.side} batch norm"


def cases() -> Iterator[Case]:
    """Yield those of DARTS, of PC-DARTS and of a training."""
    return (Case(name, *place) for name, places in PLACES.items() for place in places)


class Tensors:
    """The numbers of a case."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        draws = torch.Generator(device).manual_seed(0)
        shape = (case.batch, case.side, case.side, case.channels)
        self.x, self.slope = (
            (torch.randn(shape, generator=draws, device=device) + 1).to(dtype).permute(0, 3, 1, 2) for _ in range(2)
        )
        affine = case.name == "retrain"
        self.scale, self.shift = (
            torch.randn(case.channels, generator=draws, device=device) if affine else None for _ in range(2)
        )

    def ours(self) -> dict[str, Callable[[], Sequence[Tensor]]]:
        """Return the passes by name, and what each finds: the map, then numbers of channels."""
        _, moments = forward(self.x, self.scale, self.shift, EPS)

        def normalised() -> Sequence[Tensor]:
            out, found = forward(self.x, self.scale, self.shift, EPS)
            return out, found[0], found[2]

        def gradient() -> Sequence[Tensor]:
            return gradients(self.slope, self.x, self.scale, moments)

        return {"forward": normalised, "gradient": gradient}

    def theirs(self) -> dict[str, Callable[[], Sequence[Tensor]]]:
        """Return the same by PyTorch's operators."""

        def normalised() -> Sequence[Tensor]:
            return torch.native_batch_norm(self.x, self.scale, self.shift, None, None, True, 0.0, EPS)

        _, mean, inverse = normalised()

        def gradient() -> Sequence[Tensor]:
            found: Sequence[Tensor] = torch.ops.aten.native_batch_norm_backward(
                self.slope, self.x, self.scale, None, None, mean, inverse, True, EPS, [True] * 3
            )
            return found

        return {"forward": normalised, "gradient": gradient}

    def bytes(self) -> dict[str, int]:
        """Return what a pass reads and writes."""
        return {name: times * self.x.numel() * self.x.element_size() for name, times in MAPS.items()}


def errors(tensors: Tensors) -> dict[str, float]:
    """Return how far our results lie from those of PyTorch, as shares of their length: the largest of a pass."""
    found, expected = ({name: work() for name, work in each.items()} for each in (tensors.ours(), tensors.theirs()))
    return {
        name: max(
            float((mine.float() - other.float()).norm() / other.float().norm())
            for mine, other in zip(found[name], expected[name], strict=True)
        )
        for name in PASSES
    }


def measure(table: Table, case: Case) -> bool:
    """Compare a case with PyTorch and time both; return whether it is right."""
    tensors = Tensors(case, table.device)
    far = errors(tensors)
    synchronise(table.device)
    floor = {f"{name}_floor": MICRO * size / BYTES_PER_SECOND for name, size in tensors.bytes().items()}
    more = {**floor, **{f"{name}_error": error for name, error in far.items()}}
    for way, passes in {"ours": tensors.ours(), "torch": tensors.theirs()}.items():
        times = {name: microseconds(work) for name, work in passes.items()}
        table.add(case, way, **times, **(more if way == "ours" else {}))
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
    """Compare our batch norms with PyTorch's; the status is 1 where a result is wrong."""
    on_a_gpu(run, seconds, out)


if __name__ == "__main__":
    typer.run(main)
