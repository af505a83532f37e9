"""Maps beside each other, and the first channels of a map, whose gradients are dense.

Those that PyTorch's concatenation hands back are slices of the whole. Kernels of a GPU want dense maps, and so whatever
reads a slice copies it, each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def concatenated(parts_BCHW: Sequence[Tensor]) -> Tensor:
    """Return maps one after the other along the channels [B, D, H, W]; each has a gradient in channels-last layout."""
    out: Tensor = _Concatenated.apply(*parts_BCHW)
    return out


class _Concatenated(torch.autograd.Function):
    """Its backward pass is made of differentiable operations."""

    @staticmethod
    def forward(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del output
        ctx.widths = [part.shape[1] for part in inputs]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, ...]:
        parts = torch.split(slopes[0], ctx.widths, dim=1)
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)


def with_first(x_BXHW: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Return the first channels [B, C, H, W], dense, and all of them [B, X, H, W].

    The second has to be read exactly once, by what makes a gradient of its own for it (a product, a convolution): to
    that gradient the one of the first is added in place, where PyTorch's slice would fill a whole map with zeros.
    """
    first, all_of_them = _WithFirst.apply(x_BXHW, channels)
    return first, all_of_them


class _WithFirst(torch.autograd.Function):
    """Its backward pass can be differentiated again, where it adds nothing in place."""

    @staticmethod
    def forward(x_BXHW: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        first = x_BXHW[:, :channels].clone(memory_format=torch.channels_last)
        return first, x_BXHW.view_as(x_BXHW)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: tuple[Tensor, Tensor]) -> None:
        del output
        ctx.channels = inputs[1]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        of_first, of_all = slopes
        if torch.is_grad_enabled():
            return of_all + functional.pad(of_first, (0, 0, 0, 0, 0, of_all.shape[1] - ctx.channels)), None
        of_all[:, : ctx.channels].add_(of_first)
        return of_all, None
