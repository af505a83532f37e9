"""Paths of a stand-alone network are dropped in some samples while it is trained (docs/methods.md, section 2.3).

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from nascommon.kernels.home import on_cpu

Kept = Callable[[Tensor], Tensor]
"""Drops the path that it is given in some samples, or none: [B, C, H, W] -> [B, C, H, W]."""


def drop_path(x_BCHW: Tensor, probability: float) -> Tensor:
    """Zero whole samples with ``probability`` and scale the others up, which keeps the expectation."""
    keep = 1 - probability
    scale_B111 = torch.empty(len(x_BCHW), 1, 1, 1, dtype=x_BCHW.dtype, device=x_BCHW.device).bernoulli_(keep)
    return x_BCHW * scale_B111.div_(keep)


def drawn_paths(like_B: Tensor, probability: float | Tensor, paths: int) -> Tensor:
    """Return the factors of ``drop_path`` for so many paths [paths, B, 1, 1, 1], by two kernels for all."""
    shape, keep = (paths, len(like_B), 1, 1, 1), 1 - probability
    return torch.empty(shape, dtype=like_B.dtype, device=like_B.device).bernoulli_(keep).div_(keep)


def kept_paths(like_B: Tensor, probability: float | Tensor, paths: int) -> Iterator[Tensor]:
    """Yield these factors [B, 1, 1, 1] path by path."""
    return iter(drawn_paths(like_B, probability, paths).unbind())


def draws_at_once(x_BCHW: Tensor) -> bool:
    """Return whether a device gains by it; on a CPU other numbers would come than a seed has always given."""
    return not on_cpu(x_BCHW)
