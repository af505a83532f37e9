"""Numbers that a network is computed in: float32, or bfloat16 where it is safe.

With bfloat16 the convolutions and what lies between them are half as wide; weights, mixing weights, batch-norm
statistics, logits and losses stay float32 (or whatever the weights are).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Precision = Literal["float32", "bfloat16"]


def computing(images_BCHW: Tensor, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which the forward pass of a network on these images is computed."""
    if precision == "float32":
        return nullcontext()
    kind = images_BCHW.device.type
    return _autocast(kind) if torch.amp.is_autocast_available(kind) else _narrow_without_autocast()


def computed_in(images_BCHW: Tensor, precision: Precision) -> torch.dtype:
    """Return the type of the maps of a network on these images."""
    return torch.bfloat16 if precision == "bfloat16" else images_BCHW.dtype


def _autocast(kind: str) -> torch.autocast:
    # Every weight is used once in a forward pass, so remembering its narrow copy would only take memory.
    return torch.autocast(kind, torch.bfloat16, cache_enabled=False)


@contextmanager
def _narrow_without_autocast() -> Iterator[None]:
    """Compute as autocast does on a CPU; PyTorch's own takes no notice of tensors without data (``meta``)."""
    with _autocast("cpu"), _Narrowing():
        yield


class _Narrowing(TorchFunctionMode):
    """Gives convolutions and linear layers bfloat16 in place of float32, as autocast does."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        if function in (torch.conv2d, nn.functional.linear) and torch.is_autocast_enabled("cpu"):
            wide = (isinstance(arg, Tensor) and arg.dtype == torch.float32 for arg in args)
            args = tuple(arg.bfloat16() if is_wide else arg for arg, is_wide in zip(args, wide, strict=True))
        return function(*args, **(kwargs or {}))


def widened(logits_BK: Tensor, precision: Precision) -> Tensor:
    """Return logits for a loss that is computed outside of the context."""
    return logits_BK if precision == "float32" else logits_BK.float()
