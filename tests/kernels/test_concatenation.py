"""Maps are put together and taken apart as by PyTorch, and so are their gradients, which are dense."""

from __future__ import annotations

import torch
from torch import Tensor

from nascommon.kernels.concatenation import concatenated, with_first
from nascommon.kernels.pointwise import product


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


def test_the_gradient_of_the_first_channels_is_added_to_that_of_all() -> None:
    x, matrix, slope = maps(6), torch.randn(5, 6, dtype=torch.float64, requires_grad=True), maps(5).detach()

    def ours(x: Tensor, matrix: Tensor) -> Tensor:
        first, all_of_them = with_first(x, 2)
        assert dense(first)
        return product(all_of_them, matrix) + (first**2).sum()

    def plain(x: Tensor, matrix: Tensor) -> Tensor:
        return product(x, matrix) + (x[:, :2] ** 2).sum()

    torch.testing.assert_close(ours(x, matrix), plain(x, matrix))
    found, expected = (torch.autograd.grad(each(x, matrix), [x, matrix], slope) for each in (ours, plain))
    torch.testing.assert_close(found, expected)
    assert dense(found[0])
    assert torch.autograd.gradgradcheck(ours, (x, matrix))
