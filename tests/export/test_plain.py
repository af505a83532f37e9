"""Pictures as they are become what the network was trained on, to rounding, whatever their size and layout."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.fitting import Fit, evaluation_view, square_view
from nascommon.data.pictures import open_picture
from nascommon.data.samples import pixels_of
from nascommon.export.plain import Resize, as_batch, read_picture


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


GRAY, COLOUR = torch.arange(30, dtype=torch.uint8).reshape(5, 6), torch.arange(90, dtype=torch.uint8).reshape(3, 5, 6)


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (COLOUR, COLOUR[None]),
        (COLOUR[None], COLOUR[None]),
        (COLOUR.permute(1, 2, 0), COLOUR[None]),
        (COLOUR.permute(1, 2, 0)[None].numpy(), COLOUR[None]),
        (COLOUR.permute(1, 2, 0).tolist(), COLOUR[None]),
        (COLOUR.float() / 255, COLOUR[None]),
        (GRAY, GRAY.expand(1, 3, 5, 6)),
        (GRAY[..., None], GRAY.expand(1, 3, 5, 6)),
        (GRAY[None], GRAY.expand(1, 3, 5, 6)),
    ],
)
def test_the_layout_and_the_range_of_pictures_are_known_by_their_shape_and_type(
    pictures: object, expected: Tensor
) -> None:
    torch.testing.assert_close(as_batch(pictures, 3), expected.float())


def test_colour_becomes_gray_as_in_pillow() -> None:
    picture = noise(9, 7)
    gray = as_batch(np.array(picture), 1)
    assert (gray[0] - pixels_of(picture.convert("L"))).abs().max() < 0.51


@pytest.mark.parametrize(
    ("pictures", "complaint"),
    [
        (torch.zeros(2, 3, 8, 3), "either before or behind the pixels"),
        (torch.zeros(2, 4, 8, 8), "either before or behind the pixels"),
        (torch.zeros(8), "either before or behind the pixels"),
        (torch.zeros(0, 3, 8, 8), "hold integers from 0 to 255"),
        (torch.full((3, 8, 8), 255.0), "floats from 0 to 1 .*255"),
        (torch.full((3, 8, 8), -1), "hold integers from 0 to 255"),
        (torch.full((3, 8, 8), 256), "hold integers from 0 to 255"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(pictures: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        as_batch(pictures, 3)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_a_file_is_read_as_prepare_reads_it(tmp_path: Path, mode: str) -> None:
    picture = noise(6, 4).convert("RGBA")
    picture.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 4), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.convert(mode).save(tmp_path / "one.png", exif=exif)
    for channels in (1, 3):
        levels = as_batch(read_picture(tmp_path / "one.png"), channels)[0]
        assert (levels - pixels_of(open_picture(tmp_path / "one.png", channels))).abs().max() < 0.51
