"""What the stages share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nascommon.data.prepared import open_prepared
from nascommon.data.preparing import prepare
from nascommon.data.settings import Augment, DataSettings
from stages.shell import Data


@pytest.mark.parametrize("varies", [False, True])
def test_pictures_vary_in_training_as_they_were_prepared_to(tmp_path: Path, varies: bool) -> None:
    augment = Augment(crop_padding=2 if varies else 0, flip=varies)
    prepare(DataSettings(source="digits", limit=20, augment=augment), 0, tmp_path, report=lambda line: None)
    data = Data(open_prepared(tmp_path), 0, torch.device("cpu"))
    part = data.prepared.part("train")
    seen = torch.cat([images for images, _labels in data.training(part, 5, "test").epoch(0)])
    plain = torch.cat([images for images, _labels in data.evaluation(part, 5).epoch(0)])
    assert torch.equal(seen.flatten(1).sum(1).sort().values, plain.flatten(1).sum(1).sort().values) != varies
