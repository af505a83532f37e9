"""Maps beside each other, whose gradients are dense.

Those that PyTorch's concatenation hands back are slices of the whole. Kernels of a GPU want dense maps, and so whatever
reads a slice copies it, each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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
