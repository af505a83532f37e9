"""No setting of a training is ignored: another value gives another network, or other figures of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from nascommon.runtime.steps import finished
from nascommon.training.loop import training_steps
from nascommon.training.settings import NetworkSettings, TrainingSettings
from tests.search.small import CPU, TinyBatches, equal
from tests.training.test_loop import GENOTYPE

TRAINING: dict[str, Any] = {
    "epochs": 2,
    "pieces": 2,
    "lr": 0.2,
    "schedule": "linear",
    "lr_min": 0.05,
    "gamma": 0.5,
    "warmup_epochs": 2,
    "momentum": 0.5,
    "weight_decay": 0.1,
    "clip": 0.1,
    "label_smoothing": 0.1,
    "auxiliary_weight": 0.1,
    "drop_path": 0.9,
}
ELSEWHERE = {"batch_size", "cutout"}
"""Fields that the stages read, not the loop: tests/gaps/test_settings.py."""
BESIDE = {"gamma": {"schedule": "exponential"}}
NETWORK: dict[str, Any] = {
    "channels": 4, "cells": 4, "auxiliary": False, "stem": "cifar", "auxiliary_second_norm": False
}  # fmt: skip
SMALL = NetworkSettings(channels=2, cells=3)
IMAGENET = NetworkSettings(channels=2, cells=3, stem="imagenet")
"""Stem on which the second norm of the auxiliary head is a choice."""


@cache
def left(network: NetworkSettings, settings: TrainingSettings, side: int = 8) -> list[Any]:
    """Return the trained network and its figures without the wall time."""
    spec = network.spec(classes=4, image_channels=3)
    batches, valid = TinyBatches(12, 6, seed=1, side=side), TinyBatches(9, 9, seed=3, side=side, shuffled=False)
    trained = finished(training_steps(GENOTYPE, spec, settings, batches, seed=0, device=CPU, validation=valid))
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in trained.rows]
    return [trained.network.state_dict(), rows]


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"epochs": 3, "lr": 0.1, "drop_path": 0.5} | changes)


def test_every_setting_is_changed_here() -> None:
    assert set(TrainingSettings.model_fields) == set(TRAINING) | ELSEWHERE
    assert set(NetworkSettings.model_fields) == set(NETWORK)


@pytest.mark.parametrize("name", TRAINING)
def test_another_protocol_gives_another_training(name: str) -> None:
    before = BESIDE.get(name, {})
    assert not equal(left(SMALL, settings(**before, **{name: TRAINING[name]})), left(SMALL, settings(**before)))


def test_every_schedule_is_another() -> None:
    ways = [left(SMALL, settings(schedule=name)) for name in ("cosine", "exponential", "linear")]
    assert not any(equal(one, other) for index, one in enumerate(ways) for other in ways[:index])


@pytest.mark.parametrize("name", NETWORK)
def test_another_size_gives_another_network(name: str) -> None:
    before, side = (IMAGENET, 32) if name in ("stem", "auxiliary_second_norm") else (SMALL, 8)
    other = before.model_copy(update={name: NETWORK[name]})
    assert not equal(left(other, settings(), side)[0], left(before, settings(), side)[0])
