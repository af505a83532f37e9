"""Before anything runs it is known whether the ranking trains, and what it costs where it does not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from nascommon.config import load_params
from nascommon.cost.footprint import Shape
from nascommon.cost.peaks import untrained_peak
from nascommon.pipeline.known_cost import Cost, bytes_of_scoring, known_cost
from nascommon.pipeline.truths import Source
from nascommon.space.supernet import SupernetSpec
from tests.pipeline.test_known_sampled import Counted
from tests.pipeline.tiny_bank import with_bank
from tests.stages.project import SMOKE, Project

CPU = torch.device("cpu")


def cost(project: Project, images: int = 120) -> Cost | None:
    with contextlib.chdir(project.folder):
        params = load_params(Path("params.yaml"))
        return known_cost(params, params.method(), Shape(images, 1, 8, 8, 10), (60, 60), CPU)


def test_a_bank_that_applies_is_scored_and_another_one_is_not(prepared: Project) -> None:
    with_bank(prepared, [(0.5, 0.6)] * 40).change(kendall_tau__known_by_epoch=10)
    found = cost(prepared)
    assert found is not None
    assert found.how == "40 architectures of a bank scored, 10 of them by every snapshot; trains nothing"
    assert 0 < found.seconds < 60
    assert found.memory > 0
    prepared.change(kendall_tau__truth="retrain")
    assert cost(prepared) is None
    prepared.change(kendall_tau__truth="auto", retrain__training__epochs=7)
    assert cost(prepared) is None


def test_what_the_final_weights_draw_is_scored_too_where_a_table_knows_it(
    prepared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("table", Counted(prepared), None)
    monkeypatch.setattr("nascommon.pipeline.known_cost.expected_truth", lambda *_: source)
    monkeypatch.setattr("nascommon.pipeline.known_cost.seconds_of_scoring", lambda *_: 1.0)
    prepared.change(kendall_tau__known_architectures=20, kendall_tau__known_by_epoch=0, kendall_tau__known_sampled=7)
    found = cost(prepared)
    assert found is not None
    assert found.how == "20 architectures of a table scored, and 7 drawn from the final mixing weights; trains nothing"
    assert found.seconds == 27


def test_the_pictures_that_all_architectures_are_scored_on_are_held_in_memory() -> None:
    """Those of calibration, too, and a batch of them is computed at a time, of what is kept alone."""
    picture, shape = 4 * 3 * 32 * 32, Shape(9000, 3, 32, 32, 10)
    params = load_params(SMOKE)
    method = params.method()
    base = SupernetSpec(0, 0, 10, method.searched(params.search.chosen_space()), 3)

    def taken(calibration: int, images: int) -> int:
        return bytes_of_scoring(method, base, shape, (calibration, images), CPU)

    more, fewer = taken(100, 3000), taken(100, 2000)
    assert more - fewer == pytest.approx(1.3 * 1000 * picture, rel=0.01)  # a tensor of a heap costs 1.3 times its bytes
    assert taken(1100, 2000) - taken(600, 2000) == pytest.approx(1.3 * 500 * picture, rel=0.01)
    whole = untrained_peak(method, base, shape, ((1, 100), (3, 512), (1, 464)), 512, CPU)
    assert 1.3 * 2100 * picture < fewer < whole
    assert fewer < taken(100, 2000 + 512)


def test_before_the_pictures_are_prepared_as_many_are_taken_for_the_same(prepared: Project) -> None:
    with_bank(prepared, [(0.5, 0.6)] * 40)
    (prepared.folder / "data/prepared/target/settings.json").unlink()
    counts = prepared.json("data/prepared/target/manifest.json")["counts"]
    images = sum(sum(part.values()) for name, part in counts.items() if name != "test")
    assert cost(prepared, images) is not None
    assert cost(prepared, images + 1) is None
