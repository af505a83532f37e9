"""Prepared data is a folder: manifest, split, training samples, and test samples that only ``part("test")`` opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from nascommon.data.copies import Copies
from nascommon.data.fitting import Fit
from nascommon.data.samples import KINDS, STAGE, Samples, Storage, all_are, whole_numbers
from nascommon.data.settings import Augment
from nascommon.data.task import Task
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.records import read_record, remake_hint
from nascommon.settings import Count, Processes, Seed, Settings, UserError

PartName = Literal["weights", "architecture", "train", "test"]
Names = Annotated[tuple[str, ...], Field(strict=False)]
PerChannel = Annotated[tuple[float, ...], Field(strict=False)]

MANIFEST, SPLIT = "manifest.json", "split.json"
SETS = ("train", "test")
"""Folders, one a set, so that a stage can depend on the training images and not on the test images."""
ROLES = ("weights", "architecture")
PARTS = frozenset({*ROLES, "rest", "test"})


class Manifest(Settings):
    """Contents of a prepared folder."""

    version: Literal[1] = 1
    source: str
    storage: Storage
    classes: Names
    """Names, in the order of the labels."""
    channels: Count
    height: Count
    """Pixels of a picture as a network sees it."""
    width: Count
    fit: Fit
    """Way in which files are made square when they are streamed; pictures in memory are so already."""
    mean: PerChannel
    """Statistics per channel, for pixels in [0, 1]."""
    std: PerChannel
    augment: Augment
    """Variation of training pictures; here, so that stages which train on them need not watch the section ``data``."""
    counts: dict[str, dict[str, int]]
    """Pictures per part (weights, architecture, test, and rest where the search does not see all) and class."""
    content_hash: str
    """SHA-256 of pixels (files: their bytes and how they are seen), labels, class names and split."""
    pictures_hash: str
    """The same without the split of the search: what training from scratch and testing see, the same for all seeds."""
    copies: Copies
    seed: Seed
    workers: Processes
    """Loader processes asked for; changes no result."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):  # noqa: PLR2004 -- a pair
            raise ValueError("classes: must be at least two different names")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(f"mean, std: must be {self.channels} numbers each, those of std above 0")
        if not {*ROLES, "test"} <= set(self.counts) <= PARTS:
            raise ValueError(f"counts: must name weights, architecture and test (got {', '.join(self.counts)})")
        if any(list(counts) != list(self.classes) for counts in self.counts.values()):
            raise ValueError("counts: must name every class in every part")
        return self


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the pictures, with the manifest of the whole."""

    manifest: Manifest
    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 [N]."""
        return self.samples.labels

    @property
    def task(self) -> Task:
        """Task that the labels are for."""
        return self.samples.task

    @property
    def strata(self) -> Tensor:
        """Stratum of each picture, int64 [N]."""
        return self.samples.strata

    def subset(self, indices: Tensor | Sequence[int]) -> Part:
        """The pictures at ``indices``, in their order."""
        return Part(self.manifest, self.samples.take(torch.as_tensor(indices, dtype=torch.int64)))


@dataclass(frozen=True)
class Prepared:
    """An opened folder; nothing but the manifest has been read yet."""

    folder: Path
    manifest: Manifest

    def part(self, name: PartName) -> Part:
        """Read one part; ``train`` is all training pictures, and only ``test`` opens the test file.

        Raises:
            UserError: a file is missing, torn or of another preparation.
        """
        samples = KINDS[self.manifest.storage].read(self.folder / ("test" if name == "test" else "train"))
        if name in ROLES:
            samples = samples.take(_read_split(self.folder, name, len(samples)))
        self._check(name, samples)
        return Part(self.manifest, samples)

    def _check(self, name: str, samples: Samples) -> None:
        roles = [role for role in self.manifest.counts if role != "test"] if name == "train" else [name]
        promised = [sum(self.manifest.counts[role][label] for role in roles) for label in self.manifest.classes]
        shape = (self.manifest.channels, self.manifest.height, self.manifest.width)
        known = bool(((samples.labels >= 0) & (samples.labels < len(promised))).all())
        if not (known and samples.seen_as(shape) and class_counts(samples.labels, len(promised)) == promised):
            raise UserError(f"{self.folder}: part {name} does not match {MANIFEST}; {remake_hint(STAGE)}")


def open_prepared(folder: Path) -> Prepared:
    """Open a folder that ``prepare`` wrote.

    Raises:
        UserError: it is missing, torn or of an incompatible version.
    """
    return Prepared(folder, read_record(folder / MANIFEST, Manifest, STAGE))


def class_counts(labels: Tensor, classes: int) -> list[int]:
    """Return how many of the labels [N] are of each class."""
    counts: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return counts


def _read_split(folder: Path, name: str, total: int) -> Tensor:
    path = folder / SPLIT
    lists = read_json(path)
    numbers = lists.get(name) if isinstance(lists, dict) else None
    if not isinstance(numbers, list) or not all_are(int, numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: {name} must be a list of different whole numbers; {remake_hint(STAGE)}")
    indices = whole_numbers(path, numbers)
    if len(indices) == 0 or int(indices.min()) < 0 or int(indices.max()) >= total:
        raise UserError(f"{path}: {name} does not fit the training pictures; {remake_hint(STAGE)}")
    return indices
