"""Labelled pictures, either as one block of pixels or as a list of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pictures in memory: ``images`` uint8 [N, C, H, W], ``labels`` int64 [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Pixels:
        """The samples at ``indices``, in their order."""
        return Pixels(self.images[indices], self.labels[indices])

    def content(self) -> Iterator[bytes | memoryview]:
        """What a content hash covers: shape, pixels and labels."""
        yield repr(tuple(self.images.shape)).encode()
        yield self.images.contiguous().numpy().data.cast("B")
        yield repr(self.labels.tolist()).encode()


@dataclass(frozen=True, eq=False)
class Paths:
    """Pictures on disk: ``names`` relative to ``root``, with forward slashes; ``labels`` int64 [N]."""

    root: Path
    names: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Paths:
        """The samples at ``indices``, in their order."""
        return Paths(self.root, tuple(self.names[index] for index in indices.tolist()), self.labels[indices])

    def content(self) -> Iterator[bytes]:
        """What a content hash covers: name, size in bytes and label of every file."""
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            yield f"{name}\0{(self.root / name).stat().st_size}\0{label}\n".encode("utf-8", "surrogateescape")


Samples = Pixels | Paths


def content_hash(train: Samples, test: Samples, classes: tuple[str, ...], split: dict[str, list[int]]) -> str:
    """SHA-256 (hex) of everything that decides a result: both sets, the class names and the split."""
    digest = hashlib.sha256()
    for samples in (train, test):
        digest.update(type(samples).__name__.encode())
        for chunk in samples.content():
            digest.update(chunk)
    digest.update(repr((classes, sorted(split.items()))).encode())
    return digest.hexdigest()
