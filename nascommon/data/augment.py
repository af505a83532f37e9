"""Whole batches are cropped, mirrored, normalised and cut out on the device, without a loop over pictures.

Axes: B batch, C channels, H rows, W columns. All random numbers come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def crop(images_BCHW: Tensor, offsets_B2: Tensor, padding: int) -> Tensor:
    """Pad every side with ``padding`` zeros and cut the old size out again: [B, C, H, W].

    Args:
        images_BCHW: the pictures.
        offsets_B2: row and column of each window's upper left pixel in the padded picture, from 0 to 2 * padding.
        padding: pixels.

    Offsets uniform in 0 .. 2 * padding give the distribution of torchvision's ``RandomCrop(size, padding)``.
    """
    height, width = images_BCHW.shape[2:]
    if padding > (enough := max(height, width)):  # a window that has left the picture is black, however far it is
        offsets_B2 = (offsets_B2 - (padding - enough)).clamp(0, 2 * enough)
        padding = enough
    padded = F.pad(images_BCHW, (padding, padding, padding, padding))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, C, rows, columns, H, W]
    batch = torch.arange(len(images_BCHW), device=images_BCHW.device)
    return windows[batch, :, offsets_B2[:, 0], offsets_B2[:, 1]]


def flip(images_BCHW: Tensor, flips_B: Tensor) -> Tensor:
    """Mirror left to right where ``flips_B`` is true: [B, C, H, W]."""
    return torch.where(flips_B[:, None, None, None], images_BCHW.flip(3), images_BCHW)


def normaliser(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from uint8 pixels [B, C, H, W] to float32 ``(pixel / 255 - mean) / std`` on ``device``."""
    mean_C11, std_C11 = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
    shift_C11, scale_C11 = (-mean_C11 / std_C11).float().to(device), (1 / (255 * std_C11)).float().to(device)
    return lambda images_BCHW: torch.addcmul(shift_C11, images_BCHW.float(), scale_C11)


def cutout(images_BCHW: Tensor, centres_B2: Tensor, length: int) -> Tensor:
    """Zero a square of ``length`` pixels around ``centres_B2`` (row, column), clipped at the borders: [B, C, H, W].

    DeVries and Taylor 2017 as in the released DARTS code: ``length // 2`` pixels before the centre, as many from it on.
    """
    half = length // 2
    rows_H, columns_W = (torch.arange(side, device=images_BCHW.device) for side in images_BCHW.shape[2:])
    row_offset_BH, column_offset_BW = rows_H - centres_B2[:, :1], columns_W - centres_B2[:, 1:]
    in_rows_BH = (row_offset_BH >= -half) & (row_offset_BH < half)
    in_columns_BW = (column_offset_BW >= -half) & (column_offset_BW < half)
    return images_BCHW.masked_fill((in_rows_BH[:, :, None] & in_columns_BW[:, None, :])[:, None], 0.0)
