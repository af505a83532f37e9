"""What a file of a set takes while it is looked at is some hundred bytes, so that a million fit any machine."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from nascommon.data import inventory as noting
from nascommon.data import verifying
from nascommon.data.prepared import Prepared

Make = Callable[..., Prepared]
FEW, MANY = 500, 2500


def links(folder: Path, root: Path, count: int) -> Path:
    """Hard links of twelve pictures, as ImageNet names them."""
    pictures = sorted(folder.rglob("*.png"))
    for number in range(count):
        label = f"n{number % 10:08d}"
        place = root / ("train" if number % 100 >= 10 else "val") / label
        place.mkdir(parents=True, exist_ok=True)
        os.link(pictures[number % 12], place / f"{label}_{number:05d}.png")
    return root


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("stage", "most"), [("inventory", 250), ("prepare", 300)])
def test_a_file_takes_some_hundred_bytes(
    folder: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, stage: str, most: int
) -> None:
    for module, constant, little in ((noting, "AHEAD", 200), (noting, "PART", 2**10), (verifying, "CHUNK", 200)):
        monkeypatch.setattr(module, constant, little, raising=False)  # what does not grow with the number of files
    settings = {"source": "imagenet", "size": 8, "verify": "headers"}
    peaks: list[int] = []
    for count in (FEW, FEW, MANY):  # the first time modules are loaded
        root = links(folder, tmp_path / f"{len(peaks)}", count)
        works = {
            "inventory": lambda root=root: noting.inventory(root),
            "prepare": lambda root=root: make(path=str(root), **settings),
        }
        peaks.append(peak(works[stage]))
    assert (peaks[2] - peaks[1]) / (MANY - FEW) < most
