"""Kind of device that a tensor is computed on: what is fast on a CPU is not what is fast on a GPU.

Tensors without data (``meta``) stand for those of the device whose memory is predicted with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

# A context variable rather than a global: memory of a GPU may be predicted in one thread while another one computes.
_STOOD_FOR = ContextVar("_STOOD_FOR", default="cpu")


def on_cpu(tensor: Tensor) -> bool:
    """Return whether a CPU computes with the tensor, or would if it had data."""
    return (_STOOD_FOR.get() if tensor.is_meta else tensor.device.type) == "cpu"


def on_cuda(tensor: Tensor) -> bool:
    """Return whether a GPU of NVIDIA computes with the tensor, or would if it had data."""
    return (_STOOD_FOR.get() if tensor.is_meta else tensor.device.type) == "cuda" and torch.version.hip is None


@contextmanager
def meta_stands_for(kind: str) -> Iterator[None]:
    """Let tensors without data stand for those of that kind of device, such as ``cuda``."""
    token = _STOOD_FOR.set(kind)
    try:
        yield
    finally:
        _STOOD_FOR.reset(token)


def laid_out(operation: Any, result: Any) -> Any:
    """Return the result of an operation on tensors without data in the layout that it would have on a GPU.

    PyTorch gives a convolution without data the default layout, whatever that of its input; all maps of this library
    are in channels-last layout, and so would the result be.
    """
    if operation not in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
        return result
    return tree_map_only(Tensor, lambda x: x if on_cpu(x) else _pixel_by_pixel(x), result)


def _pixel_by_pixel(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == len("BCHW") else x
