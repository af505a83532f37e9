"""Runs the Triton kernels of batch norm on a CPU in Triton's interpreter, against the definition in float64.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted_batch_norm [--all]

What is not written shows: memory that nobody has filled is NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from triton.runtime import interpreter

from nascommon.kernels import bank_launch, batch_norm_launch
from nascommon.kernels.bank_launch import Cut
from nascommon.kernels.batch_norm import BatchNorm, normalised
from tests.kernels.test_batch_norm import plain, terms

CLOSE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Allowed distance of a map as a share of its length; statistics and sums over pixels are float32 in any case."""
OF_SUMS = 1e-5
EPS = 1e-5


@dataclass(frozen=True)
class Case:
    """A map [B, C, H, W] and how it is normalised.

    Attributes:
        shape: of the map.
        dtype: its type.
        affine: which of scale ("s") and shift ("b") there are.
        layout: "dense" in channels-last layout, "part" of a wider map, or "planes", channel by channel.
        mean: of its numbers, whose deviation is one.
        batches: that lie one after the other in it, each with statistics, scale and shift of its own.
    """

    shape: tuple[int, int, int, int]
    dtype: torch.dtype = torch.float32
    affine: str = ""
    layout: str = "dense"
    mean: float = 0.5
    batches: int = 1

    def map(self) -> Tensor:
        """Return random numbers."""
        B, C, H, W = self.shape
        wide = torch.randn(B, H, W, C + 3 * (self.layout == "part")).to(self.dtype) + self.mean
        x = wide.permute(0, 3, 1, 2)[:, -C:]
        return x.contiguous() if self.layout == "planes" else x


EVERYDAY = [
    Case((2, 5, 7, 5), affine="sb"),
    Case((3, 16, 5, 6), torch.bfloat16, "s", "part"),
    Case((2, 40, 3, 5), torch.bfloat16, layout="planes"),
    Case((3, 4, 7, 7), mean=1000),
    Case((6, 5, 7, 5), affine="sb", batches=3),
]
ALL = [
    *EVERYDAY,
    *(Case((2, channels, 5, 3), dtype, affine)
      for channels in range(1, 65) for dtype, affine in ((torch.float32, "sb"), (torch.bfloat16, ""))),
    *(Case((batch, 6, height, width), torch.float32, "sb")
      for batch in (1, 2, 3, 5) for height, width in ((1, 2), (1, 7), (5, 1), (9, 8))),
    *(Case((4, 12, 1, 1), dtype, affine, layout)
      for dtype in CLOSE for affine in ("", "s", "b", "sb") for layout in ("dense", "part", "planes")),
    *(Case((2, channels, 9, 8), torch.float32, "sb", layout, mean)
      for channels in (3, 36, 130) for layout in ("dense", "part", "planes") for mean in (0, 30, 1000)),
    # Of two pixels that are almost equal, as in one of hundreds of channels, float32 has no digits of a gradient.
    *(Case((6, channels, *size), dtype, affine, layout, batches=batches)
      for channels in (1, 16, 130) for size in ((1, 7), (7, 5)) for batches in (2, 6)
      for dtype, affine in ((torch.float32, "sb"), (torch.bfloat16, "")) for layout in ("dense", "part")),
    Case((2, 36, 17, 13), torch.float16, "sb"), Case((1, 288, 8, 8), torch.bfloat16), Case((5, 64, 8, 8), affine="b"),
]  # fmt: skip


def distances(case: Case) -> dict[str, float]:
    """Return how far output, statistics and gradients are from those of the definition in float64."""
    x, C = case.map().requires_grad_(), case.batches * case.shape[1]
    scale, shift = (torch.randn(C).requires_grad_() if name in case.affine else None for name in "sb")
    given = [each for each in (x, scale, shift) if each is not None]
    out, mean, variance = batch_norm_launch.normalised(x, scale, shift, EPS, batches=case.batches)
    assert out.dtype == case.dtype
    assert out.permute(0, 2, 3, 1).is_contiguous()
    slope = torch.randn(out.shape).to(case.dtype)  # channel by channel
    found = [out.detach(), mean, variance, *torch.autograd.grad(out, given, slope)]
    exact = iter([each.detach().double().requires_grad_() for each in given])
    twin, (gain, start) = next(exact), (None if each is None else next(exact) for each in (scale, shift))
    out, mean, variance = map(torch.cat, zip(*batch_by_batch(plain, case, twin, gain, start), strict=True))
    wanted = [each for each in (twin, gain, start) if each is not None]
    right = [out, mean.detach(), variance.detach(), *torch.autograd.grad(out, wanted, slope.double())]
    assert [each.shape for each in found] == [each.shape for each in right]
    lengths = [float(each.norm()) for each in right]
    lengths[3] = max(lengths[3], float(torch.cat(batch_by_batch(terms, case, twin, gain, slope)).norm()))
    names = ["out", "mean", "variance", "x", *case.affine]
    return {
        name: float((mine.double() - other).norm()) / length
        for name, mine, other, length in zip(names, found, right, lengths, strict=True)
    }


def batch_by_batch(function: Callable[..., Any], case: Case, *given: Tensor | None) -> list[Any]:
    """Return what a function makes of each batch's own."""
    apart = ([None] * case.batches if each is None else each.chunk(case.batches) for each in given)
    return [function(*each, EPS) for each in zip(*apart, strict=True)]


def check(case: Case) -> dict[str, float]:
    """Check a case."""
    far = distances(case)
    # Of a large mean the last digits are lost in any case: float32 has seven.
    for name, each in far.items():
        most = CLOSE[case.dtype] if name in ("out", "x") else OF_SUMS
        assert each < max(most, 2e-7 * abs(case.mean)), (case, far)  # false for NaN
    return far


def check_odd_numbers() -> None:
    """Check that a channel with equal numbers has no variance, and that NaN and infinities stay in their channels."""
    x = torch.randn(3, 6, 9, 8).contiguous(memory_format=torch.channels_last)
    x[:, 1], x[1, 2, 3, 4], x[2, 3, 1, 1] = 1000.3, float("nan"), float("inf")
    out, mean, variance = normalised(x, None, None, EPS)
    assert variance[1] < 1e-6
    assert out[:, 1].abs().max() < 1e-1
    assert [*torch.isfinite(mean)] == [*torch.isfinite(variance)] == [True, True, False, False, True, True]
    assert torch.isfinite(out[:, [0, 1, 4, 5]]).all()


def check_outliers() -> None:
    """Check that variances stay exact where the first pixels of a chunk are far from all others."""
    for pixels in (1, 3, 16):
        flat = torch.randn(2 * 32 * 16, 8)
        flat[:pixels] += 1e4
        _, mean, variance = normalised(flat.view(2, 32, 16, 8).permute(0, 3, 1, 2), None, None, EPS)
        right, spread = flat.double().mean(0), flat.double().var(0)
        torch.testing.assert_close(variance.double(), spread, rtol=1e-5, atol=0)
        assert ((mean - right).abs() < OF_SUMS * spread.sqrt()).all()


def check_norms() -> None:
    """Check that running statistics are moved as PyTorch's are."""
    x = torch.randn(3, 12, 5, 6).contiguous(memory_format=torch.channels_last)
    for affine in (False, True):
        norms = [BatchNorm(6, affine=affine) for _ in range(2)]
        one, whole = BatchNorm(12, affine=affine), torch.nn.BatchNorm2d(12, affine=affine)
        outs = [BatchNorm.side_by_side(norms, x), one(x), whole.double()(x.double()).float()]
        torch.testing.assert_close(outs[0], outs[2], rtol=1e-5, atol=1e-6)
        assert torch.equal(outs[0], outs[1])
        for name in ("running_mean", "running_var"):
            both = torch.cat([getattr(norm, name) for norm in norms])
            for mine in (both, getattr(one, name)):
                torch.testing.assert_close(mine, getattr(whole, name).float())


def check_in_place() -> None:
    """Check that the output may be rectified in place, as it is where nothing else reads it."""
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    slopes = [
        torch.autograd.grad(relu(normalised(x, None, None, EPS)[0]).square().sum(), x)[0]
        for relu in (torch.relu_, torch.relu)
    ]
    assert torch.equal(*slopes)


@contextmanager
def interpreted() -> Iterator[None]:
    """Let the kernels take maps of a CPU, cut into several chunks of several tiles."""
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)  # half the time
    torch.use_deterministic_algorithms(True)
    cut = Cut(vectors=8, times=2, programs=40)
    with patch.object(bank_launch, "on_cuda", lambda _: True), patch.object(bank_launch, "CUT", cut):
        yield


def main() -> None:
    """Check all cases."""
    torch.manual_seed(0)
    with interpreted():
        assert batch_norm_launch.launches(torch.zeros(2, 3, 1, 1))
        check_odd_numbers()
        check_outliers()
        check_norms()
        check_in_place()
        for number, case in enumerate(ALL if "--all" in sys.argv else EVERYDAY):
            torch.manual_seed(number)
            print(case, *(f"{name} {far:.1e}" for name, far in check(case).items()))


if __name__ == "__main__":
    main()
