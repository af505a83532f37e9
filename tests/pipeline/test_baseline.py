"""What is sent to be trained elsewhere names the pictures and does not hold them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from nascommon.data.prepared import open_prepared
from nascommon.pipeline.paths import TARGET_DATA
from nascommon.runtime.executor import Piece
from tests.stages.project import Project

MOST_BYTES = 100_000


class ReachedError(Exception):
    """The training would begin."""


class Weighed:
    """An executor that weighs what it is given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, pieces: Sequence[Piece[Any]], **_hooks: Any) -> list[Any]:
        self.sizes += [len(pickle.dumps(piece)) for piece in pieces]
        raise ReachedError


@pytest.mark.parametrize("holdout", [0.0, 0.25])
def test_a_piece_of_work_is_small_however_large_the_prepared_set(
    holdout: float, searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched.change(data__size=32, data__channels=3, data__limit=None, baseline__architectures=3,
                    retrain__holdout=holdout).stages("inventory", "prepare")  # fmt: skip
    images = open_prepared(searched.folder / TARGET_DATA).part("train").samples.images  # type: ignore[attr-defined]
    assert images.numel() > 30 * MOST_BYTES
    weighed = Weighed()
    monkeypatch.setattr("nascommon.pipeline.baseline.trainer_of", lambda *_: weighed)
    with pytest.raises(ReachedError):
        searched.stage("baseline")
    assert len(weighed.sizes) == 3
    assert max(weighed.sizes) < MOST_BYTES
