"""Maps are put together and taken apart as by PyTorch, and so are their gradients, which are dense."""

from __future__ import annotations

import torch
from torch import Tensor

from nascommon.kernels.concatenation import concatenated


def maps(channels: int) -> Tensor:
    draws = torch.Generator().manual_seed(channels)
    made = torch.randn(2, channels, 3, 4, dtype=torch.float64, generator=draws)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def dense(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def test_a_concatenation_hands_back_dense_gradients() -> None:
    parts = [maps(3), maps(5)]
    out = concatenated(parts)
    assert torch.equal(out, torch.cat(parts, dim=1))
    slope = maps(8).detach()
    found = torch.autograd.grad(out, parts, slope)
    assert all(torch.equal(mine, part) for mine, part in zip(found, torch.split(slope, [3, 5], dim=1), strict=True))
    assert all(map(dense, [out, *found]))
    assert torch.autograd.gradgradcheck(lambda *given: concatenated(given), parts)
