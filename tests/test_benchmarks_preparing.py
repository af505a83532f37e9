"""The measurement of ``prepare`` lays out what it says, and asks every part of the work for time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import preparing


def test_links_lie_as_imagenet_does_and_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "CLASSES", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(pictures):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    root = tmp_path / "imagenet"
    preparing.lay_out(pictures, root, 200)
    files = [path.relative_to(root).parts for path in root.rglob("*.JPEG")]
    assert len(files) == 200
    assert {parts[:2] for parts in files} == {(part, f"n0000000{n}") for part in ("train", "val") for n in (0, 1)}
    assert sum(parts[0] == "val" for parts in files) == 8
    found = preparing.stages(root, "headers")
    assert list(found) == ["start", "inventory", "prepare"]
    assert all(found[name]["cpu_seconds"] >= 0 and found[name]["peak_bytes"] > 1e6 for name in list(found)[1:])
    assert (root / "prepared" / "manifest.json").is_file()
