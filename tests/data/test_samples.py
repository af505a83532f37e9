"""The content hash notices every change that could change a result."""

from __future__ import annotations

import torch

from nascommon.data.samples import Pixels, content_hash


def test_pixels_labels_shape_names_split_and_place_all_count() -> None:
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    train, other_labels = Pixels(images, labels), Pixels(images, labels.flip(0))
    other_pixels = Pixels(images.index_fill(0, torch.tensor([3]), 1), labels)
    other_shape = Pixels(images.reshape(4, 1, 4, 1), labels)
    names, split = ("a", "b"), {"weights": [0, 1], "architecture": [2, 3]}
    hashes = [
        content_hash(train, train, names, split, ""),
        *(content_hash(other, train, names, split, "") for other in (other_labels, other_pixels, other_shape)),
        *(content_hash(train, other, names, split, "") for other in (other_labels, other_pixels, other_shape)),
        content_hash(train, train, ("a", "c"), split, ""),
        content_hash(train, train, names, split, "crop"),
        content_hash(train, train, names, {"weights": [0, 3], "architecture": [2, 1]}, ""),
    ]
    assert len(set(hashes)) == len(hashes)
    assert content_hash(Pixels(images.clone(), labels.clone()), train, names, split, "") == hashes[0]
