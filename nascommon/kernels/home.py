"""Kind of device that a tensor is computed on: what is fast on a CPU is not what is fast on a GPU.

Tensors without data (``meta``) stand for those of the device whose memory is predicted with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

# A context variable rather than a global: memory of a GPU may be predicted in one thread while another one computes.
_STOOD_FOR = ContextVar("_STOOD_FOR", default="cpu")


def on_cpu(tensor: Tensor) -> bool:
    """Return whether a CPU computes with the tensor, or would if it had data."""
    return (_STOOD_FOR.get() if tensor.is_meta else tensor.device.type) == "cpu"


@contextmanager
def meta_stands_for(kind: str) -> Iterator[None]:
    """Let tensors without data stand for those of that kind of device, such as ``cuda``."""
    token = _STOOD_FOR.set(kind)
    try:
        yield
    finally:
        _STOOD_FOR.reset(token)
