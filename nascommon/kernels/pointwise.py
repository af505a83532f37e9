"""Pointwise convolutions as products: every pixel's channels times a matrix.

A grouped convolution is the product with a matrix of blocks. cuDNN has slow kernels for groups of few channels, cuts
them into slices or changes the layout; a product with some zeros more is as fast as the maps can be read, and in
channels-last layout copies nothing.

Suffixes: ``B`` batch, ``C`` channels of the input, ``D`` of the output, ``G`` groups, ``S`` batches that lie one after
the other in a map, ``P`` pixels of one, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels.home import on_cpu


def multiplies(x_BCHW: Tensor) -> bool:
    """Return whether grouped pointwise convolutions are faster as products: on a CPU they are not."""
    return not on_cpu(x_BCHW)


def product(x_BCHW: Tensor, matrix_DC: Tensor) -> Tensor:
    """Multiply the channels of every pixel by a matrix, [B, D, H, W]; in channels-last layout nothing is copied."""
    return functional.linear(x_BCHW.permute(0, 2, 3, 1), matrix_DC).permute(0, 3, 1, 2)


def products(x_BCHW: Tensor, matrices_SCD: Tensor) -> Tensor:
    """Multiply the channels of every pixel by the matrix of its batch, [B, D, H, W]; nothing is copied either."""
    B, _, H, W = x_BCHW.shape
    out_SPD = torch.bmm(by_batch(x_BCHW, len(matrices_SCD)), matrices_SCD)
    return out_SPD.view(B, H, W, -1).permute(0, 3, 1, 2)


def by_batch(x_BCHW: Tensor, batches: int) -> Tensor:
    """Return the pixels of each of several batches [S, P, C] that lie one after the other in a map."""
    return torch.unflatten(x_BCHW.permute(0, 2, 3, 1).flatten(0, 2), 0, (batches, -1))


def blocks(kernels_D11: Tensor, groups: int) -> Tensor:
    """Return the matrix [D, C] of a grouped pointwise convolution, whose kernels are [D, C / G, 1, 1]."""
    kernels_GDC = kernels_D11.view(groups, -1, kernels_D11.shape[1])
    return kernels_GDC.permute(1, 2, 0).diag_embed(dim1=0, dim2=2).flatten(2).flatten(0, 1)


def halves_as_product(x_BCHW: Tensor, kernels: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the factors of a product that halves a map by pairs of 1x1 convolutions, of its even and its odd pixels.

    Args:
        x_BCHW: the map, whose height and width are even.
        kernels: of each pair [D / 2, C, 1, 1], the results of which come one after the other.

    Returns:
        The even and the odd pixels beside each other along the channels [B, 2 C, H / 2, W / 2], and a matrix.
    """
    B, C, H, W = x_BCHW.shape
    pixels_BHWC = x_BCHW.permute(0, 2, 3, 1).contiguous()
    # The odd pixel of every two by two is a row and a column behind the even one.
    both_BHW2C = pixels_BHWC.as_strided(
        (B, H // 2, W // 2, 2, C), (H * W * C, 2 * W * C, 2 * C, (W + 1) * C, 1), pixels_BHWC.storage_offset()
    )
    flat = torch.cat([kernel for pair in kernels for kernel in pair])
    kernels_G2DC = flat.view(len(kernels), 2, -1, C)
    matrix_G2D2C = kernels_G2DC.permute(0, 2, 3, 1).diag_embed(dim1=1, dim2=3)
    return both_BHW2C.flatten(3).permute(0, 3, 1, 2), matrix_G2D2C.flatten(3).flatten(0, 2)
