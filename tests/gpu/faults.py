"""A kernel that is wrong on a GPU, on a CPU: the checks must notice it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class PoolWithoutPadding(torch.autograd.Function):
    """An average pool whose gradient forgets the padding, as the kernel of PyTorch 2.11 for channels-last maps does."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x_BCHW)
        ctx.sizes = (kernel, stride, padding)
        return functional.avg_pool2d(x_BCHW, kernel, stride, padding, count_include_pad=False)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (x_BCHW,), (kernel, stride, padding) = ctx.saved_tensors, ctx.sizes
        H, W = x_BCHW.shape[2:]
        right = torch.ops.aten.avg_pool2d_backward(
            slopes[0], x_BCHW, [kernel] * 2, [stride] * 2, [padding] * 2, False, False, None
        )
        return functional.pad(right, (padding, 0, padding, 0))[:, :, :H, :W], None, None, None


def average_without_padding(pool: Any, x_BCHW: Tensor) -> Tensor:
    """Stand in for ``AveragePool.forward``."""
    out: Tensor = PoolWithoutPadding.apply(x_BCHW, pool.kernel_size, pool.stride, pool.padding)
    return out
