"""Weights of convolutions in bfloat16, all converted at once.

Autocast converts every weight and every gradient for itself: two kernels a convolution and pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.kernels.home import on_cpu
from nascommon.space.precision import Precision


def converts_at_once(images_BCHW: Tensor) -> bool:
    """Return whether a device gains by it."""
    return not on_cpu(images_BCHW)


@contextmanager
def narrow_weights(modules: Iterable[nn.Module], images_BCHW: Tensor, precision: Precision) -> Iterator[None]:
    """Let the convolutions and linear layers among some modules have weights in bfloat16 inside the ``with``.

    Gradients go to the weights that they have outside, in the type of these.
    """
    if precision == "float32" or not converts_at_once(images_BCHW):
        yield
        return
    layers = [module for module in modules if isinstance(module, (nn.Conv2d, nn.Linear))]
    held = [(layer, name, weight) for layer in layers for name, weight in layer.named_parameters(recurse=False)]
    narrow = _Narrow.apply(*(weight for _, _, weight in held))
    try:
        for (layer, name, _), weight in zip(held, narrow, strict=True):
            layer._parameters[name] = weight  # noqa: SLF001 -- no parameter, so it cannot be set as one
        yield
    finally:
        for layer, name, weight in held:
            layer._parameters[name] = weight  # noqa: SLF001 -- likewise


def _converted(tensors: Iterable[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    given = list(tensors)
    made = [torch.empty_like(tensor, dtype=dtype) for tensor in given]
    torch._foreach_copy_(made, given)
    return tuple(made)


class _Narrow(torch.autograd.Function):
    @staticmethod
    def forward(*weights: Tensor) -> tuple[Tensor, ...]:
        return _converted(weights, torch.bfloat16)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        del output
        ctx.dtype = inputs[0].dtype
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # within a gradient that shall be differentiated itself, a copy cannot be in place
            return tuple(None if slope is None else slope.to(ctx.dtype) for slope in slopes)
        wide = iter(_converted([slope for slope in slopes if slope is not None], ctx.dtype))
        return tuple(None if slope is None else next(wide) for slope in slopes)
