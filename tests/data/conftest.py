"""Small folders of pictures, each picture different and known from its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nascommon.data.prepared import Prepared, open_prepared
from nascommon.data.preparing import prepare
from nascommon.data.settings import DataSettings

Draw = Callable[..., None]


@pytest.fixture
def draw() -> Draw:
    """``draw(path, height=8, width=8, mode="RGB", number=0)`` writes one picture."""

    def one(path: Path, height: int = 8, width: int = 8, mode: str = "RGB", number: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = len(Image.new(mode, (1, 1)).getbands())
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, bands), dtype=np.uint8)
        Image.fromarray(pixels.squeeze(-1) if bands == 1 else pixels, mode=None).convert(mode).save(path)

    return one


@pytest.fixture(autouse=True)
def _notes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after the test what was noted of files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path, draw: Draw) -> Path:
    """Six cats, then six dogs, sorted by class: 8 x 8 RGB PNG files."""
    root = tmp_path / "pictures"
    for number in range(12):
        draw(root / ("cat" if number < 6 else "dog") / f"{number:02d}.png", number=number)
    return root


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Prepared]:
    """``make(seed=0, report=..., **settings)`` prepares into a fresh folder and opens it."""
    made = iter(range(100))

    def one(seed: int = 0, report: Callable[[str], None] = lambda line: None, **settings: object) -> Prepared:
        destination = tmp_path / f"prepared-{next(made)}"
        prepare(DataSettings.model_validate(settings), seed, destination, report)
        return open_prepared(destination)

    return one
