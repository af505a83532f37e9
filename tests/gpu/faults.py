"""A kernel that is wrong on a GPU, on a CPU: the checks must notice it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels.batch_norm import each_normalised


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


class NormWithoutLastChunk(torch.autograd.Function):
    """A batch norm whose gradient leaves the last eighth of the pixels out of its sums, as a wrong mask might."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, eps: float) -> Tensor:
        wide = x_BCHW.float()
        inverse = (wide.var((0, 2, 3), correction=0, keepdim=True) + eps).rsqrt()
        normal = (wide - wide.mean((0, 2, 3), keepdim=True)) * inverse
        ctx.save_for_backward(normal, inverse)
        return normal.to(x_BCHW.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,), (normal, inverse) = slopes, ctx.saved_tensors
        pixels, wide = slope.numel() // slope.shape[1], slope.float()
        seen = [each.permute(0, 2, 3, 1).flatten(0, 2)[: pixels - pixels // 8] for each in (wide, normal)]
        of_shift, of_scale = (each.sum(0)[:, None, None] / pixels for each in (seen[0], seen[0] * seen[1]))
        return (inverse * (wide - of_shift - normal * of_scale)).to(slope.dtype), None


def norm_without_last_chunk(x_BCHW: Tensor, batches: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Stand in for ``batch_norm.each_normalised``; right in float64, which no kernel takes."""
    out, mean, variance = each_normalised(x_BCHW, batches, eps)
    if x_BCHW.dtype != torch.float64:
        out = torch.cat([NormWithoutLastChunk.apply(each, eps) for each in x_BCHW.chunk(batches)])
    return out, mean, variance
