"""A batch is images and labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from nascommon.settings import FEWEST_IN_BATCH_NORM


class Batch(NamedTuple):
    """Images [B, C, H, W] and labels [B]."""

    images: Tensor
    labels: Tensor

    def pieces(self, count: int) -> list[tuple[Batch, float]]:
        """Cut into pieces of equal size, or sizes that differ by one, each with its share of the images.

        Args:
            count: of pieces; fewer where batch norm would see a single image, as in the only batch of a small set.
        """
        count = max(1, min(count, len(self.labels) // FEWEST_IN_BATCH_NORM))
        parts = zip(self.images.tensor_split(count), self.labels.tensor_split(count), strict=True)
        return [(Batch(images, labels), len(labels) / len(self.labels)) for images, labels in parts]


ImageBatches = Iterable[tuple[Tensor, Tensor]]
"""Images [B, C, H, W] and labels [B], batch after batch."""
