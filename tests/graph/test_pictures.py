"""DVC sees what happens to pictures outside of the project; one folder of pictures goes through these steps."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nascommon.data.inventory import SETTLED
from tests.graph.test_dvc import Pipeline, new_pipeline, ran

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]


def draw(path: Path, number: int) -> None:
    """Write a picture whose file has always the same size."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="BMP")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of pictures, older than the resolution of their times."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for number in range(160):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        draw(folder / "ab"[number % 2] / f"{number:03d}.bmp", number)
    time.sleep(SETTLED / 1e9)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, dvc: str, pictures: Path) -> Pipeline:
    made = new_pipeline(tmp_path_factory.mktemp("pictures") / "project", dvc)
    data = {"source": "image_folder", "path": str(pictures), "storage": "files", "size": 8, "workers": 0}
    made.change(methods__darts__epochs=1, search__watch_every=0, transfer__data=None)
    made.change(**{f"data__{key}": value for key, value in data.items()})
    return made


def test_1_as_long_as_no_picture_changes_nothing_reruns(project: Pipeline, pictures: Path) -> None:
    assert ran(project.dvc("repro", "search")) == {"prepare", "search"}
    assert ran(project.dvc("repro", "search")) == set()
    (pictures / "a/000.bmp").touch()
    (pictures / "notes.txt").write_text("no picture")
    assert ran(project.dvc("repro", "search")) == set()


def test_2_a_picture_replaced_by_another_of_equal_size_reruns_all(project: Pipeline, pictures: Path) -> None:
    size = (pictures / "a/000.bmp").stat().st_size
    draw(pictures / "a/000.bmp", 1000)
    assert (pictures / "a/000.bmp").stat().st_size == size
    assert ran(project.dvc("repro", "search")) == {"prepare", "search"}
    draw(pictures / "a/000.bmp", 0)
    assert ran(project.dvc("repro", "search")) == set()  # restored from the cache


def test_3_new_removed_and_moved_pictures_are_noticed(project: Pipeline, pictures: Path) -> None:
    draw(pictures / "b/new.bmp", 1001)
    assert ran(project.dvc("repro", "prepare")) == {"prepare"}
    (pictures / "b/new.bmp").unlink()
    assert ran(project.dvc("repro", "prepare")) == set()  # restored from the cache
    (pictures / "a/002.bmp").rename(pictures / "b/002.bmp")
    assert ran(project.dvc("repro", "prepare")) == {"prepare"}
