"""Scores see the supernet as it is or with batch-norm statistics measured anew, and leave it as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.data.batch import Batch
from nascommon.search.passes import weight_step
from nascommon.search.scores import fresh_statistics, recalibrate, recalibrated_scores, supernet_scores
from nascommon.search.state import SearchState
from nascommon.space.mixing import Mixing
from tests.search.small import TinyBatches, batch, double_state, equal
from tests.space.plain import plainly

VALID = TinyBatches(7, 3, dtype=torch.float64, shuffled=False)
CALIBRATION = list(TinyBatches(12, 4, seed=5, dtype=torch.float64).epoch(0))


@pytest.fixture
def state() -> SearchState:
    state = double_state()
    weight_step(state, batch(0))
    return state


def norms(module: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def record_inputs(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Collect what every batch norm is given from now on; it is known by its running statistics."""
    seen: dict[str, list[Tensor]] = {name: [] for name in norms(module)}
    names = {id(layer.running_mean): name for name, layer in norms(module).items()}
    batch_norm = functional.batch_norm

    def recording(x: Tensor, running_mean: Tensor, *arguments: Any, **named: Any) -> Tensor:
        seen[names[id(running_mean)]].append(x.detach())
        return batch_norm(x, running_mean, *arguments, **named)

    monkeypatch.setattr(functional, "batch_norm", recording)
    return seen


def test_supernet_scores_are_mean_loss_and_accuracy_over_images_in_evaluation_mode(state: SearchState) -> None:
    twin = copy.deepcopy(state)
    twin.supernet.eval()
    images, labels = VALID.images, VALID.labels
    logits = twin.supernet(images, twin.mixing())
    loss, accuracy = supernet_scores(state.supernet, state.scored(), VALID.epoch(0))
    assert loss == pytest.approx(float(functional.cross_entropy(logits, labels).detach()))
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert state.supernet.training
    assert equal(state.supernet.state_dict(), twin.supernet.state_dict())


def test_fresh_statistics_are_the_plain_average_over_the_batches(
    state: SearchState, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly(monkeypatch)  # every batch norm by itself: tests/space/test_fan.py compares with those computed together
    with fresh_statistics(state.supernet), torch.no_grad():
        seen = record_inputs(state.supernet, monkeypatch)
        for images, _ in CALIBRATION:
            state.supernet(images, state.mixing())
        for name, layer in norms(state.supernet).items():
            means = torch.stack([x.mean((0, 2, 3)) for x in seen[name]])
            variances = torch.stack([x.var((0, 2, 3)) for x in seen[name]])
            assert len(means) == len(CALIBRATION)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            torch.testing.assert_close(layer.running_mean, means.mean(0), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(layer.running_var, variances.mean(0), rtol=1e-10, atol=1e-12)


def test_the_recalibrated_score_uses_the_fresh_statistics(state: SearchState) -> None:
    twin = copy.deepcopy(state)
    for layer in norms(twin.supernet).values():
        layer.reset_running_stats()
        layer.momentum = None
    twin.supernet.train()
    with torch.no_grad():
        for images, _ in CALIBRATION:
            twin.supernet(images, twin.mixing())
    expected = supernet_scores(twin.supernet, twin.scored(), VALID.epoch(0))
    ours = recalibrated_scores(state.supernet, state.scored(), CALIBRATION, VALID.epoch(0))
    assert ours == pytest.approx(expected, rel=1e-12)
    assert ours[0] != pytest.approx(supernet_scores(state.supernet, state.scored(), VALID.epoch(0))[0], rel=1e-6)


def test_recalibration_drops_no_elements_of_skips_as_evaluation_drops_none(state: SearchState) -> None:
    expected = recalibrated_scores(state.supernet, state.scored(), CALIBRATION, VALID.epoch(0))
    state.supernet.set_skip_dropout(0.5)
    assert recalibrated_scores(state.supernet, state.scored(), CALIBRATION, VALID.epoch(0)) == expected


def test_a_recalibrated_supernet_keeps_the_fresh_statistics_and_its_momentum(state: SearchState) -> None:
    expected = recalibrated_scores(state.supernet, state.scored(), CALIBRATION, VALID.epoch(0))
    recalibrate(state.supernet, state.scored(), CALIBRATION)
    assert supernet_scores(state.supernet, state.scored(), VALID.epoch(0)) == expected
    assert all(layer.momentum == 0.1 and layer.training for layer in norms(state.supernet).values())


def test_recalibration_reads_nothing_from_the_device(state: SearchState) -> None:
    state.supernet.to("meta")  # whose numbers cannot be read
    mixing = Mixing(
        (kind, replace(cell, weights_EO=cell.weights_EO.to("meta"))) for kind, cell in state.scored().items()
    )
    recalibrate(state.supernet, mixing, [Batch(images.to("meta"), labels) for images, labels in CALIBRATION])


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_leaves_the_supernet_bit_identical(state: SearchState, training: bool) -> None:
    state.supernet.train(training)
    before = copy.deepcopy(state.supernet.state_dict())
    recalibrated_scores(state.supernet, state.scored(), CALIBRATION, VALID.epoch(0))
    assert equal(before, state.supernet.state_dict())
    assert all(layer.momentum == 0.1 and layer.training == training for layer in norms(state.supernet).values())
    assert state.supernet.training == training
    assert all(parameter.requires_grad for parameter in state.supernet.parameters())


def test_the_statistics_come_back_even_after_an_error(state: SearchState) -> None:
    before = copy.deepcopy(state.supernet.state_dict())

    def torn() -> Iterator[Batch]:
        yield from CALIBRATION
        raise KeyError

    with pytest.raises(KeyError):
        recalibrated_scores(state.supernet, state.scored(), torn(), VALID.epoch(0))
    assert equal(before, state.supernet.state_dict())
    assert all(layer.momentum == 0.1 for layer in norms(state.supernet).values())
