"""Random pictures of CIFAR-10's size, and an epoch of them as the project and as the papers' codes load it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.plain import Halves
from benchmarks.timing import Step
from nascommon.data.batch import Batch
from nascommon.data.batches import training_batches
from nascommon.data.copies import NO_COPIES
from nascommon.data.normalisation import PUBLISHED
from nascommon.data.prepared import PARTS, Manifest, Part
from nascommon.data.samples import Pixels
from nascommon.data.settings import Augment
from nascommon.runtime.seeding import generator

CLASSES = 10
SIDE = 32
HALF = 25_000
"""Images of either half of CIFAR-10's training set."""
MEAN, STD = PUBLISHED["cifar10"]
WORKERS = 2
"""Loader processes, as in the released codes."""


def random_part(count: int, side: int = SIDE) -> Part:
    """Return random bytes as ``count`` colour pictures in memory, with CIFAR-10's moments."""
    draws = generator(0, "benchmark", "pictures")
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=draws)
    names = tuple(map(str, range(CLASSES)))
    manifest = Manifest(
        source="random", storage="memory", classes=names, channels=3, height=side, width=side, mean=MEAN, std=STD,
        fit="crop", augment=Augment(), counts={key: dict.fromkeys(names, count) for key in PARTS},
        content_hash="", pictures_hash="", copies=NO_COPIES, seed=0, workers=WORKERS,
    )  # fmt: skip
    return Part(manifest, Pixels(pixels, torch.arange(count) % CLASSES))


def random_batch(count: int, device: torch.device, side: int = SIDE, name: str = "train") -> Batch:
    """Return normally distributed images with random labels."""
    draws = generator(0, "benchmark", name)
    images = torch.randn(count, 3, side, side, generator=draws)
    return Batch(images.to(device), torch.randint(CLASSES, (count,), generator=draws).to(device))


def random_halves(count: int, device: torch.device, side: int = SIDE) -> Halves:
    """Return what a bilevel step reads."""
    return Halves(random_batch(count, device, side), random_batch(count, device, side, "valid"))


def our_epoch(part: Part, batch: int, device: torch.device, cutout: int) -> Step:
    """Return an epoch of augmented batches, made by whole batches on the device."""
    batches = training_batches(part, batch, Augment(), seed=0, device=device, cutout=cutout)

    def step() -> None:
        for _images, _labels in batches.epoch(0):
            pass

    return step


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures one by one, as torchvision's CIFAR-10 has them: from an array to PIL, then transformed."""

    def __init__(self, part: Part, transform: Callable[[Image.Image], Tensor]) -> None:
        assert isinstance(part.samples, Pixels)
        self.pixels = part.samples.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = part.samples.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Cutout:
    """Zeroes a square around a random point of one picture, on a mask in NumPy as the papers' codes do."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, image_CHW: Tensor) -> Tensor:
        """Return the picture with a hole."""
        height, width = image_CHW.shape[1:]
        mask = np.ones((height, width), np.float32)
        row, column = np.random.randint(height), np.random.randint(width)  # noqa: NPY002 -- as they draw
        half = self.length // 2
        mask[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
        return image_CHW * torch.from_numpy(mask)


def papers_transform(cutout: int, side: int = SIDE) -> Any:
    """Return the papers' augmentation of CIFAR-10: PIL picture -> tensor."""
    chain = [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
             transforms.Normalize(MEAN, STD)]  # fmt: skip
    return transforms.Compose([*chain, Cutout(cutout)])


def loader_epoch(part: Part, batch: int, device: torch.device, transform: Any) -> Step:
    """Return an epoch of torchvision's loader with as many workers as the released codes have."""
    pinned = device.type == "cuda"
    loader = DataLoader(
        Pictures(part, transform), batch_size=batch, shuffle=True, num_workers=WORKERS, pin_memory=pinned
    )

    def step() -> None:
        for images, labels in loader:
            images.to(device, non_blocking=True)
            labels.to(device, non_blocking=True)

    return step
