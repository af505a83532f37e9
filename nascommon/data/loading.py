"""A prepared set and how the batches of every stage are made from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from nascommon.data.batch import Batch
from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.prepared import Part, PartName, Prepared, open_prepared
from nascommon.data.split import stratified
from nascommon.runtime.seeding import derive, generator


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

    def evaluation(self, part: Part, batch_size: int, pieces: int | None = None) -> Batches:
        """Return the images as they are, in order; ``pieces`` as for ``evaluation_size``."""
        return evaluation_batches(part, batch_size, device=self.device, pieces=pieces)

    def named(self, name: PartName, holdout: float = 0.0) -> tuple[NamedPart, NamedPart | None]:
        """Name a part, or what is left of it, and the share that is held out; None where nothing is."""
        whole = NamedPart(self.prepared.folder, self.seed, self.device, name)
        if holdout == 0:
            return whole, None
        return replace(whole, holdout=holdout), replace(whole, holdout=holdout, held_out=True)


@dataclass(frozen=True)
class NamedPart:
    """A part of a prepared set by name: small enough to be sent to another process, which opens the pictures itself.

    Attributes:
        folder: the prepared set.
        seed: seed of the stage.
        device: where batches appear.
        part: its name.
        holdout: share of the part that is kept apart.
        held_out: whether that share is meant, or what is left.
    """

    folder: Path
    seed: int
    device: torch.device
    part: PartName
    holdout: float = 0.0
    held_out: bool = False

    def training(self, batch_size: int, purpose: str, *, seed: int, cutout: int = 0) -> Batches:
        """Open the pictures; see ``Data.training``."""
        data, part = self.open()
        return data.training(part, batch_size, purpose, cutout=cutout, seed=seed)

    def evaluation(self, batch_size: int, pieces: int | None = None) -> Batches:
        """Open the pictures; see ``Data.evaluation``."""
        data, part = self.open()
        return data.evaluation(part, batch_size, pieces)

    def open(self) -> tuple[Data, Part]:
        """Read the pictures.

        Raises:
            UserError: the set is missing, torn or of an incompatible version.
        """
        data = open_data(self.folder, self.seed, self.device)
        part = data.prepared.part(self.part)
        if self.holdout:
            sides = stratified(part.strata, self.holdout, generator(self.seed, "holdout"))
            part = part.subset(sides[self.held_out])
        return data, part


def open_data(folder: Path, seed: int, device: torch.device) -> Data:
    """Open a prepared set.

    Raises:
        UserError: it is missing, torn or of an incompatible version.
    """
    return Data(open_prepared(folder), seed, device)
