"""Both kinds of samples do what samples do, and the content hash notices every change that could change a result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nascommon.data.listing import Names
from nascommon.data.samples import KINDS, Paths, Pixels, Samples, Storage, content_hashes
from nascommon.data.task import Classification


def test_pixels_labels_shape_names_split_and_place_all_count() -> None:
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    train, other_labels = Pixels(images, labels), Pixels(images, labels.flip(0))
    other_pixels = Pixels(images.index_fill(0, torch.tensor([3]), 1), labels)
    other_shape = Pixels(images.reshape(4, 1, 4, 1), labels)
    names, split = ("a", "b"), {"weights": [0, 1], "architecture": [2, 3]}
    hashes = [
        content_hashes(train, train, names, split, ""),
        *(content_hashes(other, train, names, split, "") for other in (other_labels, other_pixels, other_shape)),
        *(content_hashes(train, other, names, split, "") for other in (other_labels, other_pixels, other_shape)),
        content_hashes(train, train, ("a", "c"), split, ""),
        content_hashes(train, train, names, split, "crop"),
        content_hashes(train, train, names, {"weights": [0, 3], "architecture": [2, 1]}, ""),
    ]
    whole, pictures = zip(*hashes, strict=True)
    assert len(set(whole)) == len(hashes)
    assert pictures[-1] == pictures[0], "the split of the search alone differs"
    assert len(set(pictures)) == len(hashes) - 1
    assert content_hashes(Pixels(images.clone(), labels.clone()), train, names, split, "") == hashes[0]


LABELS = torch.tensor([0, 1, 0])


def samples_of(kind: Storage, folder: Path) -> Samples:
    if kind == "memory":
        images = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
        return Pixels(images, LABELS, Classification())
    digests = np.arange(6, dtype=np.uint8).reshape(3, 2)
    return Paths(folder, Names(["a.png", os.fsdecode(b"\xff \n.png"), "c.png"]), LABELS, digests, Classification())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again(kind: Storage, tmp_path: Path) -> None:
    samples = samples_of(kind, tmp_path)
    assert samples.storage == kind
    samples.write(tmp_path)
    read = KINDS[kind].read(tmp_path)
    assert type(read) is type(samples)
    assert torch.equal(read.labels, LABELS)
    if isinstance(samples, Pixels) and isinstance(read, Pixels):
        assert torch.equal(read.images, samples.images)
    if isinstance(samples, Paths) and isinstance(read, Paths):
        assert (read.root, list(read.names)) == (samples.root, list(samples.names))


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_them_are_the_same_pictures_of_the_same_task(kind: Storage, tmp_path: Path) -> None:
    samples = samples_of(kind, tmp_path)
    some = samples.relabelled(LABELS + 1).take(torch.tensor([2, 1]))
    assert some.labels.tolist() == some.strata.tolist() == [1, 2]
    assert some.task is samples.task
    assert list(some.content()) != list(samples.take(torch.tensor([2, 1])).content())
    assert some.seen_as((1, 2, 2))
    assert some.seen_as((3, 2, 2)) == (kind == "files")
