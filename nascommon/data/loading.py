"""A prepared set and how the batches of every stage are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from nascommon.data.batch import Batch
from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.prepared import Part, Prepared, open_prepared
from nascommon.runtime.seeding import derive


def calibration_batches(batches: Batches, count: int, seed: int) -> list[Batch]:
    """Return the ``count`` training batches that batch norm is recalibrated on, the same for every architecture."""
    return list(islice(batches.epoch(derive(seed, "calibration")), count))


@dataclass(frozen=True)
class Data:
    """A prepared set and how its batches are made."""

    prepared: Prepared
    seed: int
    device: torch.device

    @property
    def content_hash(self) -> str:
        """Hash of all pixels, labels and the split."""
        return self.prepared.manifest.content_hash

    def training(
        self, part: Part, batch_size: int, purpose: str, *, cutout: int = 0, seed: int | None = None
    ) -> Batches:
        """Return augmented, shuffled batches; ``purpose`` and seed decide order and augmentation."""
        number = derive(self.seed if seed is None else seed, "batches", purpose)
        augment = self.prepared.manifest.augment
        return training_batches(part, batch_size, augment, seed=number, device=self.device, cutout=cutout)

    def calibration(self, purpose: str, batch_size: int, count: int) -> list[Batch]:
        """Return ``count`` batches of the weight half for batch-norm statistics, seen as in the search."""
        batches = self.training(self.prepared.part("weights"), batch_size, purpose)
        return calibration_batches(batches, count, self.seed)

    def evaluation(self, part: Part, batch_size: int) -> Batches:
        """Return the images as they are, in order."""
        return evaluation_batches(part, batch_size, device=self.device)


def open_data(folder: Path, seed: int, device: torch.device) -> Data:
    """Open a prepared set.

    Raises:
        UserError: it is missing, torn or of an incompatible version.
    """
    return Data(open_prepared(folder), seed, device)
