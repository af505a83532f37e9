"""No setting of the data is ignored: another value prepares other pictures, or divides them otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nascommon.data.prepared import Prepared
from nascommon.data.settings import DataSettings

Make = Callable[..., Prepared]

OTHER: dict[str, Any] = {
    "path": "moved",
    "train_folder": "more",
    "test_folder": "val",
    "size": 4,
    "fit": "stretch",
    "channels": 1,
    "storage": "files",
    "classes": ("dog", "cat"),
    "test_fraction": 0.4,
    "architecture_fraction": 0.25,
    "search_fraction": 0.5,
    "limit": 8,
    "copies": "drop",
}
OWN_TEST = {"train_folder": "train", "test_folder": "test"}
BESIDE = {"train_folder": OWN_TEST, "test_folder": OWN_TEST}
"""Other settings that make a setting matter; without it the pictures of ``all`` are read."""
ELSEWHERE = {
    "source": "tests/data/test_sources.py",
    "split": "tests/data/test_benchmark_split.py: the other value is for CIFAR-10",
    "verify": "tests/data/test_copies.py: it decides what is looked at, not what comes out",
    "workers": "tests/data/test_streaming.py: results do not depend on it",
    "augment": "tests/gaps/test_settings.py: prepare does not vary pictures",
}


@pytest.fixture
def pictures(tmp_path: Path, draw: Callable[..., None]) -> Path:
    """Oblong pictures of two classes in several folders; one picture of ``all`` is there twice."""
    root = tmp_path / "root"
    for place, many in (("all", 12), ("moved", 10), ("train", 6), ("more", 7), ("test", 3), ("val", 4)):
        for kind, start in (("cat", 0), ("dog", 500)):
            for number in range(many):
                seed = start + 10 * len(place) + number
                draw(root / place / kind / f"{number:02d}.png", height=8, width=12, number=seed)
    shutil.copy(root / "all/cat/00.png", root / "all/dog/twin.png")
    return root


def left(make: Make, pictures: Path, **settings: Any) -> list[Any]:
    """Return what identifies a prepared set: its pictures, its division and how they are stored."""
    separate = "train_folder" in settings
    path = pictures if separate else pictures / settings.pop("path", "all")
    manifest = make(source="image_folder", path=str(path), **{"size": 8, **settings}).manifest
    return [manifest.content_hash, manifest.counts, manifest.storage]


def test_every_setting_is_changed_here() -> None:
    assert set(DataSettings.model_fields) == set(OTHER) | set(ELSEWHERE)


@pytest.mark.parametrize("name", OTHER)
def test_another_value_prepares_another_set(name: str, make: Make, pictures: Path) -> None:
    before = BESIDE.get(name, {})
    ours, again = left(make, pictures, **before), left(make, pictures, **before)
    assert ours == again
    assert left(make, pictures, **{**before, name: OTHER[name]}) != ours
