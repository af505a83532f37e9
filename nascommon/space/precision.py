"""In which numbers a network is computed: float32, or bfloat16 where it is safe.

With bfloat16 the convolutions and what lies between them are half as wide; weights, mixing weights, batch-norm
statistics, logits and losses stay float32 (or whatever the weights are).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]


def computing(images_BCHW: Tensor, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which the forward pass of a network on these images is computed."""
    if precision == "float32":
        return nullcontext()
    # Every weight is used once in a forward pass, so remembering its narrow copy would only take memory.
    return torch.autocast(images_BCHW.device.type, torch.bfloat16, cache_enabled=False)


def widened(logits_BK: Tensor, precision: Precision) -> Tensor:
    """Return logits for a loss that is computed outside of the context."""
    return logits_BK if precision == "float32" else logits_BK.float()
