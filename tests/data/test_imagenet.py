"""From ImageNet's own layout the preset makes the parts of PC-DARTS' direct search."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nascommon.config import load_params
from nascommon.data.prepared import open_prepared
from nascommon.data.preparing import prepare

PRESET = Path(__file__).parents[2] / "presets" / "imagenet.yaml"
TRAIN = {"n01440764": 80, "n01443537": 120, "n01484850": 40}
"""Pictures of a class; in ImageNet they are 732 to 1300."""


def test_the_preset_searches_on_a_tenth_and_a_fortieth_of_every_class(
    tmp_path: Path, draw: Callable[..., None]
) -> None:
    draw(tmp_path / "one.png")
    for part, counts in (("train", TRAIN), ("val", dict.fromkeys(TRAIN, 5))):
        for wnid, count in counts.items():
            folder = tmp_path / "imagenet" / part / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                os.link(tmp_path / "one.png", folder / f"{wnid}_{number}.JPEG")
    asked = load_params(PRESET).data
    settings = asked.model_copy(update={"path": str(tmp_path / "imagenet"), "verify": "headers"})
    prepare(settings, 2, tmp_path / "prepared", lambda _line: None)

    prepared = open_prepared(tmp_path / "prepared")
    assert prepared.manifest.storage == "files"
    assert prepared.manifest.counts == {
        "weights": {wnid: count // 10 for wnid, count in TRAIN.items()},
        "architecture": {wnid: count // 40 for wnid, count in TRAIN.items()},
        "rest": {wnid: count - count // 10 - count // 40 for wnid, count in TRAIN.items()},
        "test": dict.fromkeys(TRAIN, 5),
    }
    assert len(prepared.part("train")) == sum(TRAIN.values())  # what retraining sees
    parts = [set(prepared.part(name).samples.names) for name in ("weights", "architecture")]  # type: ignore[attr-defined]
    assert not parts[0] & parts[1]
