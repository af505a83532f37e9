"""A picture of any shape becomes a square: its centre is cut out, or it is padded or stretched, in every view alike."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]

RESIZE_OVER_CROP = 256 / 224
"""ImageNet's evaluation: the short side to 256, then the central 224."""


def square_view(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """A ``size`` x ``size`` picture as it is kept in memory.

    ``crop``: the short side is resized to ``size`` (bilinear, antialiased), then the central square is cut out;
    ``pad``: the long side is resized to ``size``, the rest is black, half of it on either side;
    ``stretch``: either side is resized to ``size``.
    """
    return _central(image, size, size) if fit == "crop" else _whole(image, size, fit)


def evaluation_view(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """A ``size`` x ``size`` picture as it is evaluated from a file: all of it, but with ``crop`` as ImageNet's.

    That is: the short side to ``size * 256 / 224``, then the central ``size``.
    """
    return _central(image, size, round(size * RESIZE_OVER_CROP)) if fit == "crop" else _whole(image, size, fit)


def squared(image: Image.Image, fit: Fit) -> Image.Image:
    """The picture from which a random crop is taken: padded or stretched to a square of its long side, or as it is."""
    return image if fit == "crop" or image.width == image.height else _whole(image, max(image.size), fit)


def cut_off(sides_N2: npt.NDArray[np.integer[Any]], fit: Fit, *, streamed: bool) -> npt.NDArray[np.float64]:
    """Share of each picture's area that no evaluation sees [N], from its shorter and longer side in pixels [N, 2]."""
    margin = RESIZE_OVER_CROP if streamed else 1.0
    return 1 - sides_N2[:, 0] / sides_N2[:, 1] / margin**2 if fit == "crop" else np.zeros(len(sides_N2))


def _central(image: Image.Image, size: int, short_side: int) -> Image.Image:
    from torchvision.transforms.v2 import functional as vision

    if image.size == (size, size) == (short_side, short_side):
        return image
    resized = vision.resize(image, [short_side], antialias=True)
    cropped: Image.Image = vision.center_crop(resized, [size, size])
    return cropped


def _whole(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR)
    return image.resize((size, size), Image.Resampling.BILINEAR)
