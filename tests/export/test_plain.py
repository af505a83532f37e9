"""Pictures as they are become what the network was trained on, to rounding, whatever their size."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from nascommon.data.fitting import Fit, evaluation_view, square_view
from nascommon.data.samples import pixels_of
from nascommon.export.plain import Resize


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_resizing_is_what_prepare_does_to_a_picture(fit: Fit) -> None:
    draws = random.Random(1)
    for seed in range(40):
        size, picture = draws.choice((8, 32, 45)), noise(draws.randint(1, 300), draws.randint(1, 300), seed)
        levels = pixels_of(picture)[None].float()
        for view, cover in ((square_view, size), (evaluation_view, round(size * 256 / 224))):
            resized = Resize((size, size), fit, (cover, cover))(levels)[0]
            off = (resized - pixels_of(view(picture, size, fit))).abs()
            # Pillow rounds twice, after the rows and after the columns.
            assert float(off.max()) < 1.01, (fit, view.__name__, picture.size, size)
            assert float(off.mean()) < 0.4


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    levels = pixels_of(noise(20, 12))[None].float()
    for fit in ("crop", "pad", "stretch"):
        assert torch.equal(Resize((20, 12), fit, (20, 12))(levels), levels)
