"""Depthwise convolutions of stride 1 whose backward passes a CPU has fast kernels for; the sums are the same.

oneDNN computes the forward pass well and both backward passes badly. The gradient of the input is the convolution of
the gradient with the mirrored kernel, so the forward kernel serves it (up to 8 times faster where dilated). The
gradient of a kernel has a fast path for undilated kernels of at most three columns: a wider kernel is computed in
windows of three columns, a dilated one on the interleaved pixels that its taps meet (up to 5 times faster).

Suffixes: ``B`` batch, ``C`` channels of the input, ``D`` of the output, ``H``, ``W``, ``k`` side of the kernel, 1 the
one input channel of a group.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels.home import on_cpu

WINDOW = 3
"""Columns of the widest kernel whose gradient has a fast path in oneDNN."""
LANES = 16
"""Channels below which that path leaves most of a vector register empty."""
FEWEST_NUMBERS = 2**15
"""Numbers in the input below which the copies cost more than the fast path saves."""


def fast_path_applies(x_BCHW: Tensor, kernel: Tensor) -> bool:
    """Return whether ``depthwise`` is the faster way for this input: on a CPU, without autocast (it casts op by op)."""
    return on_cpu(x_BCHW) and x_BCHW.dtype == kernel.dtype and not torch.is_autocast_enabled("cpu")


def depthwise(x_BCHW: Tensor, kernel_D1kk: Tensor, dilation: int = 1) -> Tensor:
    """Convolve every channel with its own kernel of odd side, padded so that the size stays: [B, D, H, W].

    Args:
        x_BCHW: the input.
        kernel_D1kk: a kernel per output channel; D is a multiple of C.
        dilation: pixels between neighbouring taps of a kernel.

    With D = G * C kernels every channel has G of them, the first of each channel first, as on the output of
    ``repeat_channels``; only the C channels of the input are kept for the backward pass.
    """
    out: Tensor = _Depthwise.apply(x_BCHW, kernel_D1kk, dilation)
    return out


def repeat_channels(x_BCHW: Tensor, channels: int) -> Tensor:
    """Repeat all channels one after the other until there are ``channels`` of them: [B, channels, H, W]."""
    times = channels // x_BCHW.shape[1]
    return x_BCHW if times == 1 else torch.cat([x_BCHW] * times, dim=1)


def repeated_channels(x_BCHW: Tensor, times: int) -> Tensor:
    """Repeat all channels one after the other, [B, times * C, H, W]; the gradient is one sum, channels last."""
    if times == 1:
        return x_BCHW
    pixels_BHW1C = x_BCHW.permute(0, 2, 3, 1)[:, :, :, None]
    return pixels_BHW1C.expand(-1, -1, -1, times, -1).flatten(3).permute(0, 3, 1, 2)


def sum_repeats(x_BDHW: Tensor, channels: int) -> Tensor:
    """Add up the repetitions that ``repeat_channels`` made, which is its gradient: [B, channels, H, W]."""
    if x_BDHW.shape[1] == channels:
        return x_BDHW
    parts = x_BDHW.chunk(x_BDHW.shape[1] // channels, dim=1)
    return sum(parts[1:], parts[0])


def _same(x_BCHW: Tensor, kernel_C1kk: Tensor, dilation: int) -> Tensor:
    padding = dilation * (kernel_C1kk.shape[-1] // 2)
    return functional.conv2d(x_BCHW, kernel_C1kk, None, 1, padding, dilation, len(kernel_C1kk))


class _Depthwise(torch.autograd.Function):
    """The backward pass is made of differentiable operations, so it can be differentiated again."""

    @staticmethod
    def forward(x_BCHW: Tensor, kernel_D1kk: Tensor, dilation: int) -> Tensor:
        return _same(repeat_channels(x_BCHW, len(kernel_D1kk)), kernel_D1kk, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs[:2])
        ctx.dilation = inputs[2]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_BCHW, kernel_D1kk = ctx.saved_tensors
        (slope_BDHW,) = slopes
        of_input = of_kernel = None
        if ctx.needs_input_grad[0]:
            # A convolution with odd kernel and equal padding is its own transpose with the kernel mirrored.
            of_input = sum_repeats(_same(slope_BDHW, kernel_D1kk.flip(2, 3), ctx.dilation), x_BCHW.shape[1])
        if ctx.needs_input_grad[1]:
            of_kernel = _kernel_gradient(
                repeat_channels(x_BCHW, len(kernel_D1kk)), slope_BDHW, kernel_D1kk, ctx.dilation
            )
        return of_input, of_kernel, None


def _kernel_gradient(x_BCHW: Tensor, slope_BCHW: Tensor, kernel_C1kk: Tensor, dilation: int) -> Tensor:
    """Return the sum over pixels of slope times input, for every tap [C, 1, k, k]."""
    k = kernel_C1kk.shape[-1]
    if len(kernel_C1kk) < LANES or x_BCHW.numel() < FEWEST_NUMBERS:
        return _gradient(x_BCHW, slope_BCHW, kernel_C1kk, dilation * (k // 2), dilation)
    # A dilated kernel only ever joins pixels that are multiples of ``dilation`` apart: on each of the dilation^2 grids
    # of such pixels it is an undilated one, and its gradient is the sum over the grids, here images of a larger batch.
    if dilation > 1:
        x_BCHW, slope_BCHW = (_interleaved(each, dilation) for each in (x_BCHW, slope_BCHW))
    if k <= WINDOW:
        return _gradient(x_BCHW, slope_BCHW, kernel_C1kk, k // 2)
    # Moving the gradient by ``start`` columns against the input gives the taps from column ``start`` on.
    wide_BCHW = functional.pad(x_BCHW, (k // 2, k // 2))
    columns: list[Tensor] = []
    # For k = 5 the windows are columns 0 to 2 and 2 to 4: the shared one is dropped from the second.
    for start in range(0, k - 1, WINDOW - 1):
        moved_BCHW = functional.pad(slope_BCHW, (start, k - WINDOW - start))
        window = _gradient(wide_BCHW, moved_BCHW, kernel_C1kk[..., :WINDOW], 0)
        columns.append(window if start == 0 else window[..., 1:])
    return torch.cat(columns, dim=-1)


def _gradient(x_BCHW: Tensor, slope_BCHW: Tensor, kernel_C1kk: Tensor, padding_W: int, dilation: int = 1) -> Tensor:
    """Return the gradient of a kernel that is padded to the height of its input, and by ``padding_W`` sideways."""
    padding_H = dilation * (kernel_C1kk.shape[2] // 2)
    gradient: Tensor = torch.ops.aten.convolution_backward(
        slope_BCHW, x_BCHW, kernel_C1kk, None, [1, 1], [padding_H, padding_W], [dilation, dilation], False, [0, 0],
        len(kernel_C1kk), [False, True, False],
    )[1]  # fmt: skip
    return gradient


def _interleaved(x_BCHW: Tensor, step: int) -> Tensor:
    """Take an image apart into those of every ``step``-th pixel, stacked along the batch; zeros fill the border."""
    B, C, H, W = x_BCHW.shape
    x_BCHW = functional.pad(x_BCHW, (0, -W % step, 0, -H % step))
    rows, columns = x_BCHW.shape[2] // step, x_BCHW.shape[3] // step
    # The last permutation leaves the result in channels-last layout, as all maps of the networks are.
    parts = x_BCHW.reshape(B, C, rows, step, columns, step).permute(3, 5, 0, 2, 4, 1)
    return parts.reshape(step * step * B, rows, columns, C).permute(0, 3, 1, 2)
