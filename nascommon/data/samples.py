"""Labelled pictures, either as one block of pixels or as a list of files.

What both can do is a verb of ``Samples``. Verbs that belong to another concern are functions of that module, written
once for each kind beside each other: moments in ``normalisation``, ``store`` in ``storing``, batches in ``batches``.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.listing import Names
from nascommon.data.task import CLASSIFICATION, Task
from nascommon.data.walk import is_folder
from nascommon.runtime.artefacts import read_tensors, write_tensors
from nascommon.runtime.records import remake_hint
from nascommon.settings import UserError

STAGE = "prepare"
"""Name of the stage that writes samples."""
Storage = Literal["memory", "files"]


class Samples(ABC):
    """Pictures with their labels [N]."""

    storage: ClassVar[Storage]

    labels: Tensor
    """Class indices, or whatever else the task learns, [N]."""
    task: Task
    """Task that the labels are for."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def strata(self) -> Tensor:
        """Stratum of each picture, int64 [N]."""
        return self.task.strata(self.labels)

    @abstractmethod
    def relabelled(self, labels: Tensor) -> Self:
        """Return the same pictures with other labels [N]."""

    @abstractmethod
    def take(self, indices: Tensor) -> Self:
        """Return the samples at ``indices``, in their order."""

    @abstractmethod
    def content(self) -> Iterator[bytes | memoryview]:
        """Return what a content hash covers of the pictures and their labels."""

    @abstractmethod
    def view(self, channels: int, side: int, fit: str) -> str:
        """Return how the pictures are seen, as far as their content does not tell."""

    @abstractmethod
    def seen_as(self, shape: tuple[int, int, int]) -> bool:
        """Say whether a network sees pictures of that shape (C, H, W)."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the samples into a folder of their own."""

    @staticmethod
    @abstractmethod
    def read(folder: Path) -> Samples:
        """Read what ``write`` has written.

        Raises:
            UserError: it is missing, torn, or the pictures are no longer where they were.
        """


@dataclass(frozen=True, eq=False)
class Pixels(Samples):
    """Pictures in memory: ``images`` uint8 [N, C, H, W], ``labels`` int64 [N]."""

    storage: ClassVar[Storage] = "memory"
    images: Tensor
    labels: Tensor
    task: Task = CLASSIFICATION

    def relabelled(self, labels: Tensor) -> Self:
        """Return the same pictures with other labels [N]."""
        return replace(self, labels=labels)

    def take(self, indices: Tensor) -> Self:
        """Return the samples at ``indices``, in their order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def content(self) -> Iterator[bytes | memoryview]:
        """Return what a content hash covers: shape, pixels and labels."""
        yield repr(tuple(self.images.shape)).encode()
        yield self.images.contiguous().numpy().data.cast("B")
        yield repr(self.labels.tolist()).encode()

    def view(self, channels: int, side: int, fit: str) -> str:
        """Return nothing: the pixels are what is seen."""
        del channels, side, fit
        return ""

    def seen_as(self, shape: tuple[int, int, int]) -> bool:
        """Say whether the pixels have that shape (C, H, W)."""
        return tuple(self.images.shape[1:]) == shape

    def write(self, folder: Path) -> None:
        """Write ``samples.safetensors``."""
        write_tensors(folder / "samples.safetensors", {"images": self.images, "labels": self.labels})

    @staticmethod
    def read(folder: Path) -> Pixels:
        """Read ``samples.safetensors``; see ``Samples.read``."""
        path = folder / "samples.safetensors"
        tensors = read_tensors(path)
        images, labels = tensors.get("images"), tensors.get("labels")
        if images is None or labels is None:
            raise UserError(f"{path}: lacks images or labels; {remake_hint(STAGE)}")
        kinds = (images.dtype, images.dim(), labels.dtype, labels.dim())
        if kinds != (torch.uint8, 4, torch.int64, 1) or len(images) != len(labels):
            raise UserError(f"{path}: must hold images uint8 [N, C, H, W] and labels int64 [N]; {remake_hint(STAGE)}")
        return Pixels(images, labels)


@dataclass(frozen=True, eq=False)
class Paths(Samples):
    """Pictures on disk: ``names`` relative to ``root``, with forward slashes; ``labels`` int64 [N]."""

    storage: ClassVar[Storage] = "files"
    root: Path
    names: Names
    labels: Tensor
    digests: npt.NDArray[np.uint8] | None = None
    """Hash of the content of each file, bytes [N, D]; only ``prepare`` knows them."""
    task: Task = CLASSIFICATION

    def relabelled(self, labels: Tensor) -> Self:
        """Return the same pictures with other labels [N]."""
        return replace(self, labels=labels)

    def take(self, indices: Tensor) -> Self:
        """Return the samples at ``indices``, in their order."""
        names = Names(self.names[row] for row in indices.tolist())
        digests = None if self.digests is None else self.digests[indices.numpy()]
        return replace(self, names=names, labels=self.labels[indices], digests=digests)

    def content(self) -> Iterator[bytes]:
        """Return what a content hash covers: content and label of every file, in their order, without names."""
        assert self.digests is not None
        for digest, label in zip(self.digests, self.labels.tolist(), strict=True):
            yield digest.tobytes() + repr(label).encode() + b"\n"

    def view(self, channels: int, side: int, fit: str) -> str:
        """Return channels, side in pixels and fit, which are applied when a file is decoded."""
        return f"{channels} x {side} {fit}"

    def seen_as(self, shape: tuple[int, int, int]) -> bool:
        """Say yes: files are made so when they are decoded."""
        del shape
        return True

    def write(self, folder: Path) -> None:
        """Write ``samples.safetensors``; the root relative to the folder where it lies in it.

        Names, and the root, are the bytes that they have on disk.
        """
        inside = self.root.is_relative_to(folder)
        root = self.root.relative_to(folder) if inside else self.root
        tensors = {
            "root": torch.frombuffer(bytearray(os.fsencode(root.as_posix())), dtype=torch.uint8),
            "names": torch.frombuffer(self.names.block, dtype=torch.uint8),
            "ends": torch.frombuffer(self.names.ends, dtype=torch.int64),
            "labels": self.labels,
        }
        write_tensors(folder / "samples.safetensors", tensors)

    @staticmethod
    def read(folder: Path) -> Paths:
        """Read ``samples.safetensors``; see ``Samples.read``."""
        path = folder / "samples.safetensors"
        match read_tensors(path):
            case {"root": root, "names": names, "ends": ends, "labels": labels} if (
                [(tensor.dtype, tensor.dim()) for tensor in (root, names, ends, labels)] == LISTED
                and len(ends) == len(labels) + 1
                and (int(ends[0]), int(ends[-1]), bool((ends.diff() > 0).all())) == (0, len(names), True)
            ):
                listed = Names.of(bytearray(names.numpy()), array("q", ends.numpy().tobytes()))
                samples = Paths(folder / os.fsdecode(root.numpy().tobytes()), listed, labels)
            case _:
                raise UserError(
                    f"{path}: must hold root and names uint8, where each name ends, and as many labels, both int64;"
                    f" {remake_hint(STAGE)}"
                )
        if not is_folder(samples.root):
            raise UserError(f"{path}: the pictures are no longer at {samples.root}; {remake_hint(STAGE)}")
        return samples


LISTED = [(torch.uint8, 1), (torch.uint8, 1), (torch.int64, 1), (torch.int64, 1)]
"""Kinds of the tensors that make a list of files."""
KINDS: dict[Storage, type[Samples]] = {kind.storage: kind for kind in (Pixels, Paths)}
"""Kinds of samples by the name of their storage in the manifest."""


def all_are(kind: type, values: list[Any]) -> bool:
    """Say whether every value is of a type, and not of one derived from it, as bool is from int."""
    return all(type(value) is kind for value in values)


def whole_numbers(path: Path, numbers: list[int]) -> Tensor:
    """Return numbers read from ``path`` as int64 [N].

    Raises:
        UserError: one is too large to count anything.
    """
    try:
        return torch.tensor(numbers, dtype=torch.int64)
    except (OverflowError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: holds a number that counts nothing here; {remake_hint(STAGE)}") from error


def pixels_of(image: Image.Image) -> Tensor:
    """Pixels uint8 [C, H, W] of a picture in gray or RGB."""
    return torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)


def content_hashes(
    train: Samples, test: Samples, classes: tuple[str, ...], split: dict[str, list[int]], view: str
) -> tuple[str, str]:
    """Return SHA-256 (hex) of everything that decides a result, and of the same without the split of the search.

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
    pictures = digest.copy()
    pictures.update(repr((classes, view)).encode())
    digest.update(repr((classes, sorted(split.items()), view)).encode())
    return digest.hexdigest(), pictures.hexdigest()
