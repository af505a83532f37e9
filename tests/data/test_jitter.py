"""Colours are adjusted as torchvision adjusts float pictures, each with its own factors in its own order."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from nascommon.data.jitter import ADJUSTMENTS, jitter

FACTORS = {"brightness": 1.4, "contrast": 0.7, "saturation": 1.3, "hue": -0.15}


def pictures(count: int, channels: int = 3) -> Tensor:
    noise = torch.randint(256, (count, channels, 9, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    noise[:, :, :2] = noise[:, :1, :2]  # gray pixels have no hue
    noise[:, :, 0] = 0
    return noise


def torchvision_s(picture_CHW: Tensor, steps_S2: Tensor) -> Tensor:
    adjusted = picture_CHW.float() / 255
    for kind, factor in steps_S2.tolist():
        adjusted = getattr(vision, f"adjust_{list(ADJUSTMENTS)[int(kind)]}")(adjusted, factor)
    return adjusted * 255


@pytest.mark.parametrize("channels", [1, 3])
def test_every_order_of_the_adjustments_is_torchvision_s(channels: int) -> None:
    orders = torch.tensor(list(permutations(range(4))))
    generator = torch.Generator().manual_seed(1)
    factors = torch.tensor(list(FACTORS.values()))[orders] * (0.8 + 0.2 * torch.rand(24, 4, generator=generator))
    steps = torch.stack([orders.float(), factors], dim=2)
    images = pictures(24, channels)
    expected = torch.stack([torchvision_s(image, own) for image, own in zip(images, steps, strict=True)])
    torch.testing.assert_close(jitter(images, steps), expected, rtol=0, atol=0.05)


def test_the_others_in_the_batch_do_not_matter() -> None:
    images, steps = pictures(3), torch.tensor([[[3, 0.2], [1, 0.6]], [[0, 1.3], [3, 0.1]], [[3, -0.2], [1, 1.2]]])
    alone = torch.cat([jitter(images[row : row + 1], steps[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(jitter(images, steps), alone)


def test_without_steps_the_bytes_are_handed_on() -> None:
    images = pictures(2)
    assert jitter(images, torch.empty(2, 0, 2)) is images


def test_the_pictures_that_came_in_are_not_written_to() -> None:
    images = pictures(2)
    before = images.clone()
    jitter(images, torch.tensor([[[0, 0.5]], [[0, 1.5]]]))
    assert torch.equal(images, before)
