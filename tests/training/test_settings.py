"""The defaults are DARTS' CIFAR-10 protocol, and settings that cannot work are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nascommon.space.network import NetworkSpec
from nascommon.training.settings import NetworkSettings, TrainingSettings


def test_the_defaults_are_darts_protocol_on_cifar10() -> None:
    assert TrainingSettings().model_dump() == {
        "epochs": 600, "batch_size": 96, "pieces": 1, "lr": 0.025, "schedule": "cosine", "lr_min": 0.0,
        "gamma": 0.97,
        "warmup_epochs": 0, "momentum": 0.9, "weight_decay": 3e-4, "clip": 5.0, "label_smoothing": 0.0,
        "auxiliary_weight": 0.4, "drop_path": 0.2, "cutout": 16,
    }  # fmt: skip
    assert NetworkSettings().spec(classes=10, image_channels=3) == NetworkSpec()


def test_every_size_reaches_the_network() -> None:
    settings = NetworkSettings(channels=48, cells=14, stem="imagenet", auxiliary=False, auxiliary_second_norm=False)
    spec = settings.spec(classes=1000, image_channels=1)
    assert spec == NetworkSpec(48, 14, 1000, "imagenet", 1, auxiliary=False, auxiliary_second_norm=False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 4, "lr": 1.0, "lr_min": 0.5}, [1.0, 0.9267767, 0.75, 0.5732233]),
        ({"epochs": 3, "lr": 1.0, "schedule": "exponential", "gamma": 0.5}, [1.0, 0.5, 0.25]),
        ({"epochs": 7, "lr": 1.0, "schedule": "linear"}, [1.0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ({"epochs": 7, "lr": 1.0, "schedule": "linear", "warmup_epochs": 2}, [0.5, 1.0, 0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_the_schedule_is_the_one_that_is_named(settings: dict[str, Any], expected: list[float]) -> None:
    ours = TrainingSettings(**settings)
    assert [ours.learning_rate()(epoch, ours.epochs) for epoch in range(ours.epochs)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 5, "warmup_epochs": 5}, "warmup_epochs: must be less than epochs"),
        ({"lr": 0.1, "lr_min": 0.2}, "lr_min: must be at most lr"),
        ({"drop_path": 1.0}, "drop_path: must be less than 1"),
        ({"schedule": "step"}, "schedule"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"lr": float("nan")}, "lr"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**settings)
