"""An average pool whose gradient is right on a GPU, too.

Up to PyTorch 2.13 the CUDA kernel of that gradient takes no notice of the padding where the input is in channels-last
layout, as all our maps are: every pixel gets what belongs to the one ``padding`` rows and columns before it
(pytorch/pytorch#188344). Without padding it is right, and so is the forward pass. The gradient of a padded map without
padding of its own, whose border is cut off, is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels.home import on_cpu


class AveragePool(nn.AvgPool2d):
    """The mean over the pixels of a square window that lie within the map."""

    def __init__(self, kernel: int, stride: int, padding: int) -> None:
        super().__init__(kernel, stride, padding, count_include_pad=False)
        self._pixels: dict[object, Tensor] = {}

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, H', W']."""
        if on_cpu(x_BCHW):
            return super().forward(x_BCHW)
        out: Tensor = _Average.apply(x_BCHW, self.pixels(x_BCHW), self.kernel_size, self.stride, self.padding)
        return out

    @torch.no_grad()
    def pixels(self, x_BCHW: Tensor) -> Tensor:
        """Return the number of pixels in each window, [1, 1, H', W'].

        Whatever was asked for is kept: a step that is recorded as a CUDA graph goes on reading it.
        """
        key = (x_BCHW.shape[2:], x_BCHW.dtype, x_BCHW.device)
        if key not in self._pixels:
            ones_11HW = x_BCHW.new_ones(1, 1, *x_BCHW.shape[2:])
            self._pixels[key] = functional.avg_pool2d(
                ones_11HW, self.kernel_size, self.stride, self.padding, divisor_override=1
            )
        return self._pixels[key]


class _Average(torch.autograd.Function):
    """Keeps nothing of its input; its backward pass is made of differentiable operations."""

    @staticmethod
    def forward(x_BCHW: Tensor, pixels_11HW: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        del pixels_11HW
        return functional.avg_pool2d(x_BCHW, kernel, stride, padding, count_include_pad=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        x_BCHW, pixels_11HW, *ctx.sizes = inputs
        ctx.shape = x_BCHW.shape
        ctx.save_for_backward(pixels_11HW)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope_BCHW,), (pixels_11HW,) = slopes, ctx.saved_tensors
        (B, C, H, W), (kernel, stride, padding) = ctx.shape, ctx.sizes
        # Of the input the kernel reads shape and layout alone.
        padded_BCHW = torch.empty(
            (B, C, H + 2 * padding, W + 2 * padding),
            dtype=slope_BCHW.dtype, device=slope_BCHW.device, memory_format=torch.channels_last,
        )  # fmt: skip
        of_padded_BCHW: Tensor = torch.ops.aten.avg_pool2d_backward(
            slope_BCHW / pixels_11HW, padded_BCHW, [kernel, kernel], [stride, stride], [0, 0], False, False, 1
        )
        return of_padded_BCHW[:, :, padding : padding + H, padding : padding + W], None, None, None, None
