"""Runs the Triton kernels on a CPU in Triton's interpreter, which must be chosen before Triton is imported.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted [--all]

What is not written shows: memory that nobody has filled is NaN.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import torch
from torch import Tensor
from triton.runtime import interpreter

from nascommon.kernels import bank_launch
from nascommon.kernels.bank import Bank, Kind, _plain, beside
from nascommon.kernels.bank_launch import Cut

MANY = (Kind(3, 1, 3), Kind(5, 1, 1), Kind(3, 2, 2), Kind(7, 1, 1))
FEW = (Kind(3, 1, 3), Kind(5, 2, 1))
OWN = (Kind(3, 2), Kind(5, 1))
EVERYDAY = [
    (Bank(FEW, 2), 4, (7, 6), torch.float32),
    (Bank(OWN, shared=False), 3, (4, 5), torch.bfloat16),
]
"""(bank, channels of a kind's input, (height, width), type)."""
ALL = [
    *EVERYDAY,
    *((Bank(MANY, stride), channels, (7, 6), dtype)
      for stride in (1, 2) for channels in (1, 3, 16) for dtype in (torch.float32, torch.bfloat16)),
    *((Bank(OWN, stride, shared=False), channels, (5, 9), torch.bfloat16) for stride in (1, 2) for channels in (2, 36)),
    (Bank((Kind(5, 2),), 1, rectified=False), 64, (3, 2), torch.float16),
    (Bank((Kind(3, 3, 5), Kind(5, 4, 8))), 8, (9, 9), torch.float32),
]  # fmt: skip
CLOSE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Allowed distance as a share of the length."""


def distances(bank: Bank, channels: int, size: tuple[int, int], dtype: torch.dtype) -> list[float]:
    """Return how far output and gradients are from those of plain operators in float64, as shares of their length."""
    taken, pitch = channels if bank.shared else channels * len(bank.kinds), 3
    wide = torch.randn(2, *size, taken + pitch, dtype=torch.float64).to(dtype).permute(0, 3, 1, 2)
    x = wide[:, :taken].requires_grad_()  # part of a state, read where it lies
    kernels = torch.randn(bank.taps * channels).requires_grad_()
    other = torch.randn(bank.size(x)[0], 3, *bank.size(x)[2:]).to(dtype).requires_grad_()
    given = (x, kernels, other)
    out = beside([(bank, x, kernels)], [other])
    slope = torch.randn(out.shape).to(dtype)
    found = (out.detach(), *torch.autograd.grad(out, given, slope))
    assert [each.dtype for each in found] == [dtype, dtype, torch.float32, dtype]
    exact = [each.detach().double().requires_grad_() for each in given]
    expected = _plain((bank,), exact)
    wanted = (expected.detach(), *torch.autograd.grad(expected, exact, slope.double()))
    return [_distance(mine, exact) for mine, exact in zip(found, wanted, strict=True)]


def _distance(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found.double() - exact).norm() / exact.norm())


def main() -> None:
    """Check all cases."""
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)  # half the time
    torch.use_deterministic_algorithms(True)
    # Two blocks of vectors, two chunks of several rounds.
    cut = Cut(vectors=64, width=16, numbers=256, chunks=2)
    with patch.object(bank_launch, "on_cuda", lambda _: True), patch.object(bank_launch, "CUT", cut):
        for number, case in enumerate(ALL if "--all" in sys.argv else EVERYDAY):
            torch.manual_seed(number)
            far = distances(*case)
            assert all(each < CLOSE[case[-1]] for each in far), (case, far)  # false for NaN
            print(*case, *(f"{each:.1e}" for each in far))


if __name__ == "__main__":
    main()
