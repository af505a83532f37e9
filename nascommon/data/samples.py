"""Labelled pictures, either as one block of pixels or as a list of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.task import CLASSIFICATION, Task


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pictures in memory: ``images`` uint8 [N, C, H, W], ``labels`` int64 [N]."""

    images: Tensor
    labels: Tensor
    task: Task = CLASSIFICATION

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Pixels:
        """The samples at ``indices``, in their order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def content(self) -> Iterator[bytes | memoryview]:
        """Return what a content hash covers: shape, pixels and labels."""
        yield repr(tuple(self.images.shape)).encode()
        yield self.images.contiguous().numpy().data.cast("B")
        yield repr(self.labels.tolist()).encode()


@dataclass(frozen=True, eq=False)
class Paths:
    """Pictures on disk: ``names`` relative to ``root``, with forward slashes; ``labels`` int64 [N]."""

    root: Path
    names: tuple[str, ...]
    labels: Tensor
    digests: tuple[bytes, ...] = ()
    """Hash of the content of each file; only ``prepare`` knows them."""
    task: Task = CLASSIFICATION

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Paths:
        """The samples at ``indices``, in their order."""
        rows = indices.tolist()
        digests = tuple(self.digests[row] for row in rows) if self.digests else ()
        names = tuple(self.names[row] for row in rows)
        return replace(self, names=names, labels=self.labels[indices], digests=digests)

    def content(self) -> Iterator[bytes]:
        """Return what a content hash covers: content and label of every file, in their order, without names."""
        for digest, label in zip(self.digests, self.labels.tolist(), strict=True):
            yield digest + repr(label).encode() + b"\n"


Samples = Pixels | Paths


def pixels_of(image: Image.Image) -> Tensor:
    """Pixels uint8 [C, H, W] of a picture in gray or RGB."""
    return torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)


def content_hash(
    train: Samples, test: Samples, classes: tuple[str, ...], split: dict[str, list[int]], view: str
) -> str:
    """SHA-256 (hex) of everything that decides a result.

    Args:
        train: training pictures.
        test: test pictures.
        classes: names of the labels.
        split: indices of the parts.
        view: how the pictures are seen, as far as their content does not tell.
    """
    digest = hashlib.sha256()
    for samples in (train, test):
        digest.update(type(samples).__name__.encode())
        for chunk in samples.content():
            digest.update(chunk)
    digest.update(repr((classes, sorted(split.items()), view)).encode())
    return digest.hexdigest()
