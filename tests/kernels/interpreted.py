"""Runs the Triton kernels on a CPU in Triton's interpreter, which must be chosen before Triton is imported.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted [--all]

What is not written shows: memory that nobody has filled is NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from triton.runtime import interpreter

from nascommon.kernels import bank_launch
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.bank_launch import Cut
from nascommon.kernels.pools import Pools
from tests.kernels import chain

MANY = (Kind(3, 1, 3), Kind(5, 1, 1), Kind(3, 2, 2), Kind(7, 1, 1))
FEW = (Kind(3, 1, 3), Kind(5, 2, 1))
OWN = (Kind(3, 2), Kind(5, 1))
MOST, MEAN = nn.MaxPool2d, AveragePool
EVERYDAY = [
    (Bank(FEW, 2), (MOST, MEAN), 4, (7, 6), torch.float32),
    (Bank(OWN, shared=False), (MEAN,), 3, (4, 5), torch.bfloat16),
    (None, (MEAN, MOST), 2, (5, 4), torch.bfloat16),
]
"""(bank, pools of its map, channels of a kind's input, (height, width), type)."""
ALL = [
    *EVERYDAY,
    *((Bank(MANY, stride), (), channels, (7, 6), dtype)
      for stride in (1, 2) for channels in (1, 3, 16) for dtype in (torch.float32, torch.bfloat16)),
    *((Bank(OWN, stride, shared=False), (MOST,), channels, (5, 9), torch.bfloat16)
      for stride in (1, 2) for channels in (2, 36)),
    (Bank((Kind(5, 2),), 1, rectified=False), (), 64, (3, 2), torch.float16),
    (Bank((Kind(3, 3, 5), Kind(5, 4, 8))), (), 8, (9, 9), torch.float32),
    *((Bank((Kind(3, 2),), stride) if channels > 1 else None, pools, channels, size, dtype)
      for stride, size in ((1, (7, 6)), (2, (7, 6)), (2, (8, 9)), (1, (1, 1)), (1, (1, 4)), (2, (3, 1)))
      for pools, dtype in (((MOST, MEAN), torch.bfloat16), ((MEAN, MOST), torch.float32), ((MOST,), torch.float16))
      for channels in (1, 6, 64)),
]  # fmt: skip
CHAINS = [
    (3, 3, (5, 6), torch.float32),
    (2, 6, (4, 5), torch.bfloat16),
]
"""(channels that are read, those of the state, (height, width), type)."""
ALL_CHAINS = [
    *CHAINS,
    *((channels, times * channels, size, dtype)
      for channels in (1, 12) for times in (1, 4) for size in ((7, 6), (1, 1))
      for dtype in (torch.float32, torch.bfloat16)),
]  # fmt: skip
FEW_CHANNELS = 6
"""With which several batches are computed, too."""
CLOSE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Allowed distance as a share of the length."""


def distances(
    bank: Bank | None, pools: Sequence[Callable[[int, int, int], nn.Module]], channels: int, size: tuple[int, int],
    dtype: torch.dtype, batches: int = 1,
) -> list[float]:  # fmt: skip
    """Return how far output and gradients are from those of plain operators in float64, as shares of their length.

    Of several batches, each has kernels of its own.
    """
    kinds = 1 if bank is None or bank.shared else len(bank.kinds)
    x = _map(channels * kinds, size, dtype, 2 * batches)
    kernels = torch.randn(0 if bank is None else batches * bank.taps * channels).requires_grad_()
    stride = 2 if bank is None else bank.stride
    chosen = Pools(tuple(made(3, stride, 1) for made in pools)) if pools else None  # type: ignore[misc]

    def computed(x: Tensor, kernels: Tensor) -> Tensor:
        return beside([] if bank is None else [(bank, x, kernels)], None if chosen is None else (chosen, x))

    out = computed(x, kernels)
    slope = torch.randn(out.shape).to(dtype)
    given = (x, kernels) if bank is not None else (x,)
    found = (out.detach(), *torch.autograd.grad(out, given, slope))
    assert [each.dtype for each in found] == [dtype, dtype, torch.float32][: len(found)]
    exact = [each.detach().double().requires_grad_() for each in (x, kernels)]
    expected = computed(*exact)
    wanted = (expected.detach(), *torch.autograd.grad(expected, exact[: len(given)], slope.double()))
    far = [_distance(mine, exact) for mine, exact in zip(found, wanted, strict=True)]
    return [*far, twice(lambda x: computed(x, kernels.detach()), x, slope)]


def twice(computed: Callable[[Tensor], Tensor], x: Tensor, slope: Tensor) -> float:
    """Return how far the gradient of the input's gradient in that of the output is from that of plain operators."""
    vector = torch.randn(x.shape).to(x.dtype)
    found: list[Tensor] = []
    for dtype in (x.dtype, torch.float64):
        read, steep = (each.detach().to(dtype).requires_grad_() for each in (x, slope))
        (gradient,) = torch.autograd.grad(computed(read), read, steep, create_graph=True)
        found += torch.autograd.grad(gradient, steep, vector.to(dtype))
    return _distance(*found)


def chained(
    channels: int, all_of_them: int, size: tuple[int, int], dtype: torch.dtype, way: chain.Way = chain.outputs
) -> list[float]:
    """Return how far outputs and gradients of readers are that hand a state on, of which they read some channels."""
    given = chain.inputs(channels, all_of_them, size, dtype)
    exact = [each.detach().double().requires_grad_() for each in given]
    outs, wide = way(channels, given), way(channels, exact)
    slopes = chain.slopes(outs)
    found = torch.autograd.grad(outs, given, slopes)
    wanted = torch.autograd.grad(wide, exact, [each.double() for each in slopes])
    assert [each.dtype for each in found] == [each.dtype for each in given]
    pairs = zip((*outs, *found), (*wide, *wanted), strict=True)
    return [_distance(mine.detach(), exact.detach()) for mine, exact in pairs]


def _map(channels: int, size: tuple[int, int], dtype: torch.dtype, images: int) -> Tensor:
    """Return part of a state, to be read where it lies; half of its numbers are whole, and many of these equal."""
    shape = (images, *size, channels + 3)
    wide = torch.where(torch.rand(shape) < 0.5, torch.randint(-2, 3, shape), torch.randn(shape))
    return wide.to(dtype).permute(0, 3, 1, 2)[:, :channels].requires_grad_()


def _distance(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found.double() - exact).norm() / (exact.norm() or 1))  # of a few pixels, all may be rectified


def check_odd_numbers() -> None:
    """Check that the largest of odd numbers, and the pixel that gets its gradient, are those of PyTorch."""
    for stride in (1, 2):
        x = torch.tensor([float("nan"), float("-inf"), 0.0, 1.0])[torch.randint(4, (2, 7, 9, 2))].permute(0, 3, 1, 2)
        x[0] = float("-inf")
        pools, x = Pools((nn.MaxPool2d(3, stride, 1),)), x.requires_grad_()
        outs = [beside([], (pools, x)), pools.plain(x)]
        slope = torch.randint(1, 9, outs[0].shape).float()
        gradients = [torch.autograd.grad(out, x, slope)[0] for out in outs]
        for mine, other in (outs, gradients):
            torch.testing.assert_close(mine, other, rtol=0, atol=0, equal_nan=True)


def main() -> None:
    """Check all cases."""
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)  # half the time
    torch.use_deterministic_algorithms(True)
    # Two blocks of vectors, two chunks of several rounds.
    cut = Cut(vectors=64, width=4, programs=40)
    with patch.object(bank_launch, "on_cuda", lambda _: True), patch.object(bank_launch, "CUT", cut):
        check_odd_numbers()
        whole = "--all" in sys.argv
        cases = ALL if whole else EVERYDAY
        check(distances, cases)
        check(
            partial(distances, batches=3), [case for case in cases if case[0] is not None and case[2] <= FEW_CHANNELS]
        )
        check(chained, ALL_CHAINS if whole else CHAINS, roundings=2)
        check(partial(chained, way=chain.node_outputs), ALL_CHAINS if whole else CHAINS, roundings=2)


def check(far: Callable[..., list[float]], cases: Sequence[Sequence[Any]], roundings: int = 1) -> None:
    """Check that what is found in each case is as near as its type allows, so many times rounded."""
    for number, case in enumerate(cases):
        torch.manual_seed(number)
        found = far(*case)
        assert all(each < roundings * CLOSE[case[-1]] for each in found), (case, found)  # false for NaN
        print(*case, *(f"{each:.1e}" for each in found))


if __name__ == "__main__":
    main()
