"""A picture that is not square is cropped, padded or stretched, alike in memory and from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.fitting import evaluation_view, square_view
from nascommon.data.prepared import Prepared
from nascommon.data.settings import Augment, DataSettings

Make = Callable[..., Prepared]
CPU = torch.device("cpu")
LEFT, MIDDLE, RIGHT = 60, 120, 240


def banner() -> Image.Image:
    """128 x 32 pixels: a dark, a grey and a light third."""
    row = np.repeat([LEFT, MIDDLE, RIGHT], [43, 42, 43]).astype(np.uint8)
    return Image.fromarray(np.stack([np.tile(row, (32, 1))] * 3, axis=-1))


@pytest.fixture
def banners(tmp_path: Path) -> Path:
    """Eight banners that differ in one pixel far from the edges of the thirds."""
    for number in range(8):
        path = tmp_path / "banners" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = banner()
        image.putpixel((64, 16), (number, 0, 255 - number))
        image.save(path)
    return tmp_path / "banners"


def levels(view: Image.Image | np.ndarray) -> set[int]:
    """The grey levels that fill at least a twentieth of a view."""
    values, counts = np.unique(np.asarray(view)[..., :1], return_counts=True)
    return {int(value) for value, count in zip(values, counts, strict=True) if count >= counts.sum() / 20}


@pytest.mark.parametrize("view", [square_view, evaluation_view])
def test_crop_shows_the_middle_pad_and_stretch_all(view: Callable[..., Image.Image]) -> None:
    assert levels(view(banner(), 32, "crop")) == {MIDDLE}
    assert levels(view(banner(), 32, "pad")) == {0, LEFT, MIDDLE, RIGHT}
    assert levels(view(banner(), 32, "stretch")) == {LEFT, MIDDLE, RIGHT}
    padded = np.array(view(banner(), 32, "pad"))
    assert (padded[:12].max(), padded[20:].max()) == (0, 0)
    assert padded[12:20].min() >= LEFT
    upright = view(banner().transpose(Image.Transpose.ROTATE_90), 32, "pad")
    assert np.array_equal(np.array(upright.transpose(Image.Transpose.ROTATE_270)), padded)


@pytest.mark.parametrize("view", [square_view, evaluation_view])
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_square_picture_of_the_right_size_is_left_alone(view: Callable[..., Image.Image], fit: str) -> None:
    image = banner().crop((30, 0, 62, 32))
    assert np.array_equal(np.array(view(image, 32, fit)), np.array(image))


def pixels(prepared: Prepared, batches: Batches | None = None) -> np.ndarray:
    """Return what evaluation, or ``batches``, see of the training pictures, as bytes [N, H, W, C]."""
    batches = batches or evaluation_batches(prepared.part("train"), 100, device=CPU, workers=0)
    images, _ = next(iter(batches.epoch(0)))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (prepared.manifest.mean, prepared.manifest.std))
    return ((images * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_evaluation_sees_the_same_in_memory_and_from_files(banners: Path, make: Make, fit: str) -> None:
    memory, files = (
        pixels(make(source="image_folder", path=str(banners), size=16, fit=fit, storage=storage))
        for storage in ("memory", "files")
    )
    assert np.array_equal(memory, files)
    assert levels(memory) >= {LEFT, RIGHT}


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_training_from_files_crops_what_evaluation_could_see(banners: Path, make: Make, fit: str) -> None:
    prepared = make(source="image_folder", path=str(banners), size=64, fit=fit, storage="files")
    whole = Augment(flip=False, resized_crop_scale=(1.0, 1.0), color_jitter=(0.0, 0.0, 0.0, 0.0))
    trained = pixels(prepared, training_batches(prepared.part("train"), 6, whole, seed=0, device=CPU, workers=0))
    # Of so long a picture torchvision's random crop is at most 4 to 3; a square can be had whole.
    assert levels(trained) == levels(pixels(prepared))
    assert (LEFT in levels(trained)) == (fit != "crop")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"size": 32}, "data.fit: crop cuts off 75% of every picture; pad and"),
        ({"size": 32, "storage": "files"}, "crop cuts off 81% of every picture in evaluation; pad"),
        ({"size": 32, "fit": "pad"}, None),
        ({"size": 32, "fit": "stretch", "storage": "files"}, None),
        ({}, None),
    ],
)
def test_prepare_tells_how_much_is_cut_off(
    banners: Path, make: Make, settings: dict[str, object], told: str | None
) -> None:
    lines: list[str] = []
    make(source="image_folder", path=str(banners), report=lines.append, **settings)
    found = [line for line in lines if "cuts off" in line]
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


def test_the_mean_and_the_worst_are_told_where_pictures_differ(banners: Path, make: Make) -> None:
    for number in range(0, 8, 2):
        Image.linear_gradient("L").rotate(number).convert("RGB").save(banners / "a" / f"{number}.png")
    lines: list[str] = []
    make(source="image_folder", path=str(banners), size=32, report=lines.append)
    assert "data.fit: crop cuts off 38% on average, at most 75%; pad and stretch show all" in lines


def test_a_fit_without_a_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="fit: needs size"):
        DataSettings(source="digits", fit="pad")
