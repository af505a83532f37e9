"""Augmentation on the device has the distribution of the torchvision transforms and of the DARTS cutout."""

from __future__ import annotations

from collections import Counter

import torch
from scipy.stats import chisquare
from torchvision.transforms.v2 import functional as vision

from nascommon.data import augment
from nascommon.data.batches import training_batches
from nascommon.data.copies import NO_COPIES
from nascommon.data.prepared import PARTS, Manifest, Part
from nascommon.data.samples import Pixels
from nascommon.data.settings import Augment

CPU = torch.device("cpu")
SIDE, PADDING = 6, 2
CODED = torch.arange(1, SIDE * SIDE + 1, dtype=torch.uint8).reshape(1, SIDE, SIDE)
"""Every pixel is another number, so that a crop tells where it was cut and whether it was mirrored."""


def part_of(images: torch.Tensor) -> Part:
    count, channels, height, width = images.shape
    manifest = Manifest(
        source="test", storage="memory", classes=("a", "b"), channels=channels, height=height, width=width,
        mean=(0.0,) * channels, std=(1.0,) * channels, fit="crop", augment=Augment(), content_hash="", pictures_hash="",
        counts={key: {"a": 0, "b": 0} for key in PARTS},
        copies=NO_COPIES, seed=0, workers=0,
    )  # fmt: skip
    return Part(manifest, Pixels(images, torch.zeros(count, dtype=torch.int64)))


def drawn(count: int, settings: Augment, cutout: int = 0, image: torch.Tensor = CODED) -> torch.Tensor:
    batches = training_batches(
        part_of(image.repeat(count, 1, 1, 1)), count, settings, seed=5, device=CPU, cutout=cutout
    )
    images, _ = next(iter(batches.epoch(0)))
    return images


def torchvision_crops() -> dict[tuple[int, ...], tuple[int, int, bool]]:
    padded = vision.pad(CODED, [PADDING])
    found = {}
    for row in range(2 * PADDING + 1):
        for column in range(2 * PADDING + 1):
            window = vision.crop(padded, row, column, SIDE, SIDE)
            found[tuple(window.flatten().tolist())] = (row, column, False)
            found[tuple(vision.horizontal_flip(window).flatten().tolist())] = (row, column, True)
    return found


def test_a_padding_beyond_the_picture_costs_no_memory_and_gives_the_same_windows() -> None:
    padding, image = 9, torch.arange(1, 13, dtype=torch.uint8).reshape(1, 3, 4)
    offsets = torch.cartesian_prod(torch.arange(2 * padding + 1), torch.arange(2 * padding + 1))
    padded = vision.pad(image, [padding])
    expected = torch.stack([vision.crop(padded, row, column, 3, 4) for row, column in offsets.tolist()])
    assert torch.equal(augment.crop(image.repeat(len(offsets), 1, 1, 1), offsets, padding), expected)
    far = 10**8  # pixels of a padded picture that no memory holds
    seen = augment.crop(image[None].repeat(2, 1, 1, 1), torch.tensor([[far, far], [0, 2 * far]]), far)
    assert torch.equal(seen, torch.stack([image, torch.zeros_like(image)]))


def test_crop_and_flip_have_exactly_the_distribution_of_torchvision() -> None:
    known = torchvision_crops()
    assert len(known) == 2 * (2 * PADDING + 1) ** 2
    images = (drawn(20_000, Augment(crop_padding=PADDING)) * 255).round().int().flatten(1)
    counts = Counter(known[tuple(image)] for image in images.tolist())  # a KeyError: a picture torchvision cannot give
    assert set(counts) == set(known.values())
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_one_crop_equals_torchvisions_crop_of_the_padded_picture() -> None:
    images = torch.randint(0, 256, (3, 3, 8, 10), dtype=torch.uint8)
    offsets = torch.tensor([[0, 0], [8, 3], [4, 8]])
    for image, (row, column), got in zip(images, offsets.tolist(), augment.crop(images, offsets, 4), strict=True):
        assert torch.equal(got, vision.crop(vision.pad(image, [4]), row, column, 8, 10))


def test_pictures_of_one_batch_are_varied_independently() -> None:
    images = drawn(200, Augment(crop_padding=PADDING)).flatten(1)
    assert len({tuple(image) for image in images.tolist()}) > 40


def test_no_padding_and_no_flip_leave_the_picture_alone() -> None:
    images = drawn(3, Augment(crop_padding=0, flip=False)) * 255
    assert torch.equal(images.round().byte(), CODED.repeat(3, 1, 1, 1))


def darts_cutout(height: int, width: int, row: int, column: int, length: int) -> torch.Tensor:
    """The mask of the released DARTS code (utils.py, Cutout)."""
    mask = torch.ones(height, width)
    top, bottom = max(row - length // 2, 0), min(row + length // 2, height)
    left, right = max(column - length // 2, 0), min(column + length // 2, width)
    mask[top:bottom, left:right] = 0
    return mask


def test_cutout_follows_the_darts_rule_at_every_centre() -> None:
    height, width = 5, 7
    centres = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    for length in (2, 3, 4):
        got = augment.cutout(torch.ones(len(centres), 2, height, width), centres, length)
        for mask, (row, column) in zip(got, centres.tolist(), strict=True):
            assert torch.equal(mask, darts_cutout(height, width, row, column, length).expand(2, -1, -1))


def test_cutout_centres_are_uniform_over_all_pixels_and_zero_after_normalisation() -> None:
    white = torch.full((1, SIDE, SIDE), 255, dtype=torch.uint8)
    images = drawn(20_000, Augment(crop_padding=0, flip=False), cutout=2, image=white)[:, 0]
    known = {
        tuple(darts_cutout(SIDE, SIDE, row, column, 2).flatten().int().tolist()): (row, column)
        for row in range(SIDE)
        for column in range(SIDE)
    }
    assert len(known) == SIDE * SIDE
    counts = Counter(known[tuple(image)] for image in images.flatten(1).int().tolist())
    assert len(counts) == SIDE * SIDE
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_normalised_values_are_those_of_torchvision() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    mean, std = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
    expected = vision.normalize(vision.to_dtype(images, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(augment.normaliser(mean, std, CPU)(images), expected, rtol=0, atol=2e-6)
