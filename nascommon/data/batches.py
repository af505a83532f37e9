"""An epoch of batches is a pure function of its seed and key, in memory and from files alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Protocol

import torch
from torch import Tensor

from nascommon.data import augment as on_device
from nascommon.data.batch import Batch
from nascommon.data.prepared import Part
from nascommon.data.samples import Paths, Pixels, Samples
from nascommon.data.settings import Augment
from nascommon.data.streaming import View, evaluation_pictures, stream, training_pictures
from nascommon.data.task import Task
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.runtime.seeding import derive, generator
from nascommon.settings import UserError

Normalise = Callable[[Tensor], Tensor]

FULL_GPU = 2**20 * 3
"""Numbers in a batch of evaluation on a GPU: 1024 images of 32 x 32 in colour."""
PLAIN = Augment(crop_padding=0, flip=False)


class Batches(Protocol):
    """Batches of one part, again and again."""

    @property
    def task(self) -> Task:
        """Task that the labels are for."""
        ...

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield float32 normalised images [B, C, H, W] and int64 labels [B] on the device.

        Order and augmentation depend on the seed and ``key`` alone; epochs may be open at the same time. With a
        ``share`` only that is read and computed: of training some images of every batch, of evaluation some batches.

        Raises:
            UserError: the share of a training batch is too small for batch norm.
        """
        ...


@dataclass(frozen=True)
class Again:
    """Evaluation batches, made anew each time: together they may take more memory than what they are given to."""

    batches: Batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield them all."""
        return self.batches.epoch(0)


def training_batches(
    part: Part,
    batch_size: int,
    augment: Augment,
    *,
    seed: int,
    device: torch.device,
    cutout: int = 0,
    clean: bool = False,
    workers: int | None = None,
) -> Batches:
    """Shuffled and augmented batches, all of one size: the last partial one is dropped unless it is the only one.

    Args:
        part: the pictures.
        batch_size: pictures in a batch.
        augment: how pictures vary.
        seed: with the key of an epoch decides order and augmentation.
        device: where batches appear; pictures kept in memory live there as uint8.
        cutout: side in pixels of the square that is zeroed after normalisation; 0 = none.
        clean: shuffled, but every picture as in evaluation.
        workers: loader processes with files; None = as the data section says. Changes no result.
    """
    if clean:
        augment, cutout = PLAIN, 0
    return _training(part.samples, part, batch_size, augment, seed, device, cutout, clean, workers)


@singledispatch
def _training(
    samples: Samples, part: Part, batch_size: int, augment: Augment, seed: int, device: torch.device, cutout: int,
    clean: bool, workers: int | None,
) -> Batches:  # fmt: skip
    """Make the training batches of one kind of samples; see ``training_batches``."""
    raise NotImplementedError(type(samples).__name__)


@_training.register
def _(
    samples: Pixels, part: Part, batch_size: int, augment: Augment, seed: int, device: torch.device, cutout: int,
    *_of_files: object,
) -> Batches:  # fmt: skip
    return _MemoryTraining.of(part, samples, batch_size, augment, seed, device, cutout)


@_training.register
def _(
    samples: Paths, part: Part, batch_size: int, augment: Augment, seed: int, device: torch.device, cutout: int,
    clean: bool, workers: int | None,
) -> Batches:  # fmt: skip
    size, fit = part.manifest.height, part.manifest.fit
    view = evaluation_pictures(size, fit) if clean else training_pictures(size, augment, fit)
    return _FileTraining(part, samples, view, batch_size, seed, device, cutout, _workers(part, workers))


def evaluation_batches(
    part: Part, batch_size: int, *, device: torch.device, pieces: int | None = None, workers: int | None = None
) -> Batches:
    """All pictures in their order, not augmented, the last batch as small as it comes; every epoch is the same.

    Files are seen as ``data.fit`` says, with ``crop`` as in ImageNet's evaluation. Batches are as large as
    ``evaluation_size`` says; scores are the same.
    """
    return _evaluation(part.samples, part, batch_size, device, pieces, workers)


def evaluation_size(batch_size: int, numbers: int | None, device: torch.device, pieces: int | None = None) -> int:
    """Return the pictures of a batch of evaluation.

    Args:
        batch_size: as set.
        numbers: of a picture that is kept in memory; None where pictures are files.
        device: where they are scored.
        pieces: that training cuts a batch of that size into. Evaluation takes a piece at a time, too, but of no less
            than ``FULL_GPU`` numbers in memory of a GPU, which a batch of training does not fill without a backward
            pass. None where the size is set for evaluation alone.
    """
    if pieces is None:
        return batch_size
    if numbers is not None and device.type == "cuda":
        batch_size = max(batch_size, FULL_GPU // numbers)
    return math.ceil(batch_size / pieces)


@singledispatch
def _evaluation(
    samples: Samples, part: Part, batch_size: int, device: torch.device, pieces: int | None, workers: int | None
) -> Batches:
    """Make the evaluation batches of one kind of samples; see ``evaluation_batches``."""
    raise NotImplementedError(type(samples).__name__)


@_evaluation.register
def _(
    samples: Pixels, part: Part, batch_size: int, device: torch.device, pieces: int | None, _workers: int | None
) -> Batches:
    size = evaluation_size(batch_size, samples.images[0].numel(), device, pieces)
    return _MemoryEvaluation.of(part, samples, size, device)


@_evaluation.register
def _(
    samples: Paths, part: Part, batch_size: int, device: torch.device, pieces: int | None, workers: int | None
) -> Batches:
    view = evaluation_pictures(part.manifest.height, part.manifest.fit)
    size = evaluation_size(batch_size, None, device, pieces)
    return _FileEvaluation(part, samples, view, size, device, _workers(part, workers))


@dataclass(frozen=True, eq=False)
class _MemoryTraining:
    images: Tensor
    labels: Tensor
    task: Task
    normalise: Normalise
    batch_size: int
    augment: Augment
    seed: int
    cutout: int

    @staticmethod
    def of(
        part: Part, pixels: Pixels, batch_size: int, augment: Augment, seed: int, device: torch.device, cutout: int
    ) -> _MemoryTraining:
        images, labels = pixels.images.to(device), pixels.labels.to(device)
        return _MemoryTraining(
            images, labels, pixels.task, _normaliser(part, device), batch_size, augment, seed, cutout
        )

    def __len__(self) -> int:
        return full_batches(len(self.labels), self.batch_size)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        device, total, padding = self.labels.device, len(self.labels), self.augment.crop_padding
        # The whole epoch is drawn at once: few kernels, and no host synchronisation in between.
        draws = generator(self.seed, "batches", key, device=device)
        order = torch.randperm(total, generator=draws, device=device)
        offsets = torch.randint(2 * padding + 1, (total, 2), generator=draws, device=device)
        flips = torch.rand(total, generator=draws, device=device) < 0.5  # noqa: PLR2004 - every second one
        centres = _centres(self.images, total, draws)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows, whole = _rows(share, start, min(self.batch_size, total - start))
            images = self.images[order[rows]]
            if padding:
                images = on_device.crop(images, offsets[rows], padding)
            if self.augment.flip:
                images = on_device.flip(images, flips[rows])
            normal = self.normalise(images)
            cut = on_device.cutout(normal, centres[rows], self.cutout) if self.cutout else normal
            yield Batch(cut, self.labels[order[rows]], self.task, whole, share)


@dataclass(frozen=True, eq=False)
class _MemoryEvaluation:
    images: Tensor
    labels: Tensor
    task: Task
    normalise: Normalise
    batch_size: int

    @staticmethod
    def of(part: Part, pixels: Pixels, batch_size: int, device: torch.device) -> _MemoryEvaluation:
        images, labels = pixels.images.to(device), pixels.labels.to(device)
        return _MemoryEvaluation(images, labels, pixels.task, _normaliser(part, device), batch_size)

    def __len__(self) -> int:
        return _all_batches(len(self.labels), self.batch_size)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        del key  # the order is fixed
        for start in range(0, len(self.labels), self.batch_size)[share.index :: share.count]:
            rows = slice(start, start + self.batch_size)
            yield Batch(self.normalise(self.images[rows]), self.labels[rows], self.task)


@dataclass(frozen=True, eq=False)
class _FileTraining:
    part: Part
    paths: Paths
    view: View
    batch_size: int
    seed: int
    device: torch.device
    cutout: int
    workers: int

    @property
    def task(self) -> Task:
        return self.paths.task

    def __len__(self) -> int:
        return full_batches(len(self.part), self.batch_size)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        total = len(self.part)
        order = torch.randperm(total, generator=generator(self.seed, "order", key))
        draws = generator(self.seed, "cutout", key, device=self.device)
        normalise = _normaliser(self.part, self.device)
        chunks = _chunks(order[: len(self) * self.batch_size], self.batch_size)
        shares = [_rows(share, 0, len(chunk)) for chunk in chunks]
        streamed = stream(
            self.paths, self.part.manifest.channels, self.view,
            [chunk[rows] for chunk, (rows, _) in zip(chunks, shares, strict=True)], derive(self.seed, "pictures", key),
            self.device, self.workers,
        )  # fmt: skip
        for chunk, (rows, whole), (images, labels) in zip(chunks, shares, streamed, strict=True):
            normal = normalise(images)
            centres = _centres(images, len(chunk), draws)[rows]
            cut = on_device.cutout(normal, centres, self.cutout) if self.cutout else normal
            yield Batch(cut, labels, self.task, whole, share)


@dataclass(frozen=True, eq=False)
class _FileEvaluation:
    part: Part
    paths: Paths
    view: View
    batch_size: int
    device: torch.device
    workers: int

    @property
    def task(self) -> Task:
        return self.paths.task

    def __len__(self) -> int:
        return _all_batches(len(self.part), self.batch_size)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        del key  # the order is fixed
        normalise = _normaliser(self.part, self.device)
        chunks = _chunks(torch.arange(len(self.part)), self.batch_size)[share.index :: share.count]
        for images, labels in stream(
            self.paths, self.part.manifest.channels, self.view, chunks, 0, self.device, self.workers
        ):
            yield Batch(normalise(images), labels, self.task)


def _rows(share: Share, start: int, count: int) -> tuple[slice, int | None]:
    """Return the share of so many rows of a batch, counted from ``start`` on, and the ``whole`` of its ``Batch``."""
    if share == WHOLE:
        return slice(start, start + count), None
    if count // share.count < share.fewest:
        need = "1 image" if share.dealt else f"{share.fewest} images for batch norm"
        raise UserError(
            f"launch: {share.count} processes cannot share a batch of {count} images, as each needs {need}; start "
            "fewer, or set a larger batch_size"
        )
    return share.rows(start, start + count), count


def full_batches(total: int, batch_size: int) -> int:
    """Return the batches of an epoch of training: what fills none is left out, but of fewer than one, one is made."""
    return max(total // batch_size, 1)


def _all_batches(total: int, batch_size: int) -> int:
    return -(-total // batch_size)


def _chunks(order: Tensor, batch_size: int) -> list[Tensor]:
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _normaliser(part: Part, device: torch.device) -> Normalise:
    return on_device.normaliser(part.manifest.mean, part.manifest.std, device)


def _centres(images_NCHW: Tensor, total: int, draws: torch.Generator) -> Tensor:
    """Uniform pixels (row, column) of a picture, int64 [total, 2], on the device of the pictures."""
    sides = images_NCHW.shape[2:]
    drawn = [torch.randint(side, (total,), generator=draws, device=images_NCHW.device) for side in sides]
    return torch.stack(drawn, dim=1)


def _workers(part: Part, workers: int | None) -> int:
    return part.manifest.workers if workers is None else workers
