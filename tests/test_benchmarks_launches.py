"""The kernels of an operator are those that CUDA's own code launches, copies that nobody asked for among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.counts import Counted


def maps(channels: int) -> Tensor:
    made = torch.empty(2, channels, 4, 4, device="meta")
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


DENSE, SLICE = maps(8), maps(16)[:, :8]
KERNEL = torch.empty(8, 8, 1, 1, device="meta", requires_grad=True)
ROWS = [torch.empty(3, device="meta") for _ in range(130)]


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: DENSE + SLICE, 1),
        (lambda: torch.cat([DENSE, DENSE], dim=1), 1),
        (lambda: torch.cat([DENSE, SLICE], dim=1), 2),
        (lambda: torch.cat(ROWS), 2),
        (lambda: torch.cat([*ROWS[:3], ROWS[3].bfloat16()]), 1 + 4),
        (lambda: torch.cat([torch.empty(3, 2, device="meta").t()] * 65), 2),
        (lambda: torch.stack(ROWS), 2),
        (lambda: torch._foreach_mul_(ROWS, 2), 2),
        (lambda: torch._foreach_lerp_(ROWS, ROWS, 0.1), 3),
        (lambda: functional.conv2d(DENSE, KERNEL), 1),
        (lambda: functional.conv2d(SLICE, KERNEL), 2),
        (lambda: functional.batch_norm(DENSE, None, None, training=True), 3),
    ],
)
def test_kernels_of_an_operator(work: Callable[[], object], expected: int) -> None:
    with Counted() as counted:
        work()
    assert counted.kernels == expected


@pytest.mark.parametrize(("slope", "expected"), [(DENSE, 2), (SLICE, 4)])
def test_each_gradient_of_a_convolution_copies_a_slope_that_is_not_dense(slope: Tensor, expected: int) -> None:
    out = functional.conv2d(DENSE, KERNEL)
    with Counted() as counted:
        torch.autograd.grad(out, [DENSE, KERNEL], slope.detach())
    assert counted.kernels == expected
