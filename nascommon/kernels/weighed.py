"""A feature map times a weight per channel, with a backward pass that makes no map to throw away."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nascommon.kernels.depthwise import repeat_channels, sum_repeats


def weighed(x_BCHW: Tensor, scale_D: Tensor) -> Tensor:
    """Repeat an input for several edges and multiply each repetition by the weights of its edge: [B, D, H, W].

    Args:
        x_BCHW: the input that all edges share.
        scale_D: weights of C channels for one edge after the other; D is a multiple of C.
    """
    out: Tensor = _Weighed.apply(x_BCHW, scale_D)
    return out


class _Weighed(torch.autograd.Function):
    """Keeps the input once for all its repetitions; its backward pass can be differentiated again."""

    @staticmethod
    def forward(x_BCHW: Tensor, scale_D: Tensor) -> Tensor:
        # Mixing weights stay in float32 where maps are bfloat16; cast here, or the product would be float32.
        return repeat_channels(x_BCHW, len(scale_D)) * scale_D[:, None, None].to(x_BCHW.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_BCHW, scale_D = ctx.saved_tensors
        (slope_BDHW,) = slopes
        of_input = of_scale = None
        if ctx.needs_input_grad[0]:
            of_input = sum_repeats(slope_BDHW * scale_D[:, None, None].to(slope_BDHW.dtype), x_BCHW.shape[1])
        if ctx.needs_input_grad[1]:
            # Summed in the type of the weights: a sum over a batch of pixels would lose digits in bfloat16.
            of_scale = (slope_BDHW * repeat_channels(x_BCHW, len(scale_D))).sum((0, 2, 3), dtype=scale_D.dtype)
        return of_input, of_scale
