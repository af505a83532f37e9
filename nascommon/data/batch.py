"""A batch is images and labels, and knows what the labels are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nascommon.data.task import CLASSIFICATION, Reduction, Task
from nascommon.runtime.ranks import WHOLE, Share


@dataclass(frozen=True, eq=False)
class Batch:
    """Images [B, C, H, W] and labels [B]; unpacked, it is these two."""

    images: Tensor
    labels: Tensor
    task: Task = CLASSIFICATION
    whole: int | None = None
    """Images of the batch that this is a share of; None where it is no share."""
    share: Share = WHOLE
    """Which share of it."""

    def __iter__(self) -> Iterator[Tensor]:
        yield self.images
        yield self.labels

    @property
    def count(self) -> int:
        """Images of the whole batch."""
        return len(self.labels) if self.whole is None else self.whole

    def loss(self, outputs: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean") -> Tensor:
        """Return the task's loss of ``outputs`` [B, ...], a scalar with a graph to them."""
        return self.task.loss(outputs, self.labels, label_smoothing=label_smoothing, reduction=reduction)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the task's score of each image [B]."""
        return self.task.scores(outputs, self.labels)

    def head(self, count: int) -> Batch:
        """Return the first ``count`` images, as views."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def pieces(self, count: int) -> list[tuple[Batch, float]]:
        """Cut into pieces of equal size, or sizes that differ by one, each with its part of the whole batch.

        Args:
            count: number of pieces; fewer where batch norm would see a single image, as in a small set's only batch.
        """
        # Batch norm sees a piece of the share, or the piece of the batch that all ranks have some images of.
        share, rows = (self.share, self.count) if self.share.dealt else (WHOLE, len(self.labels))
        cuts = share.cuts(count, rows)
        parts = zip(self.images.tensor_split(cuts), self.labels.tensor_split(cuts), strict=True)
        return [(replace(self, images=images, labels=labels), len(labels) / self.count) for images, labels in parts]

    # What a recorded step needs of its inputs (nascommon.runtime.replay), under the names that tensors have.

    @property
    def shape(self) -> torch.Size:
        """Shape of the images, which decides that of the labels."""
        return self.images.shape

    @property
    def device(self) -> torch.device:
        """Device that images and labels are on."""
        return self.images.device

    def clone(self) -> Batch:
        """Return a batch of the same content in memory of its own."""
        return replace(self, images=self.images.clone(), labels=self.labels.clone())

    def copy_(self, other: Batch) -> Batch:
        """Overwrite images and labels with those of a batch of the same shape."""
        self.images.copy_(other.images)
        self.labels.copy_(other.labels)
        return self


def regrouped(batches: Iterable[Batch], most: int) -> list[Batch]:
    """Return the same images in the same order in fewer batches, of ``most`` images or the last of fewer."""
    whole = list(batches)
    images, labels = (torch.cat([getattr(batch, name) for batch in whole]) for name in ("images", "labels"))
    return [
        replace(whole[0], images=part, labels=of)
        for part, of in zip(torch.split(images, most), torch.split(labels, most), strict=True)
    ]
