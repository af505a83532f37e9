"""Presets load, are what they say, and are told what a space cannot be."""

from __future__ import annotations

import re

import pytest
import yaml

from nascommon.config import load_params
from nascommon.method import REGISTRY, ArchGradient, ArchOptimiser, WeightOptimiser
from nascommon.parts.choices import FirstOrder
from nascommon.search.settings import SearchSettings
from nascommon.settings import UserError
from nascommon.training.settings import NetworkSettings, TrainingSettings
from tests.shipped import PRESETS, SHIPPED


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_every_preset_loads_and_makes_its_method(preset: str) -> None:
    params = load_params(PRESETS[preset])
    assert params.method().epochs > 0


def test_no_preset_is_left_out_or_lost() -> None:
    assert set(PRESETS) == SHIPPED


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_the_header_of_a_preset_states_cost_expectation_and_command(preset: str) -> None:
    header = [line for line in PRESETS[preset].read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("cost", "expected", "command"):
        assert any(re.match(rf"# +{word} +\S", line) for line in header), word


def test_the_cifar10_preset_is_the_protocol_of_the_papers() -> None:
    params = load_params(PRESETS["cifar10"])
    assert params.data.source == "cifar10"
    assert params.search == SearchSettings(method=params.search.method, nodes=4, snapshots=params.search.snapshots)
    assert params.retrain.network == NetworkSettings()
    assert params.retrain.training == TrainingSettings()
    assert params.retrain.holdout == 0
    settings = params.methods.model_dump()
    assert settings["darts"] == REGISTRY["darts"].settings().model_dump()
    transfer = params.transfer
    assert transfer.data is not None
    assert (transfer.data.source, transfer.data.size) == ("imagenet", 224)
    assert (transfer.network.channels, transfer.network.cells, transfer.network.auxiliary) == (48, 14, True)
    training = transfer.training
    assert (training.epochs, training.weight_decay, training.label_smoothing) == (250, 3e-5, 0.1)
    assert (training.drop_path, training.auxiliary_weight, training.cutout) == (0, 0.4, 0)
    published = {("exponential", 0.1, 128, 0), ("linear", 0.5, 1024, 5)}
    assert (training.schedule, training.lr, training.batch_size, training.warmup_epochs) in published


@pytest.mark.parametrize("preset", ["nasbench201", "nasbench201-cpu"])
@pytest.mark.parametrize("method", sorted(yaml.safe_load(PRESETS["cifar10"].read_text(encoding="utf-8"))["methods"]))
def test_every_method_is_set_up_for_the_space_of_the_nasbench201_presets(preset: str, method: str) -> None:
    params = load_params(PRESETS[preset]).changed({"search.method": method})
    settings = params.method_settings()
    assert settings.none  # type: ignore[attr-defined]
    assert settings != REGISTRY[method].settings()
    assert "skips" not in params.method().discretize.pick.__name__  # one rule for all


def test_the_nasbench201_preset_is_the_protocol_of_the_benchmark() -> None:
    params = load_params(PRESETS["nasbench201"])
    assert params.data.split == "nasbench201"
    assert (params.search.channels, params.search.cells, params.data.source) == (16, 15, "cifar10")
    method = params.method()
    assert (method.epochs, method.batch_size) == (50, 64)
    assert method.weights == WeightOptimiser(lr=0.025, lr_min=0.001, momentum=0.9, weight_decay=5e-4, clip=5.0)
    assert method.arch_gradient == ArchGradient(FirstOrder(), ArchOptimiser(lr=3e-4, weight_decay=1e-3))


def test_what_networks_of_a_space_cannot_be_is_said_at_once() -> None:
    params = load_params(PRESETS["nasbench201"])
    changes = {
        "search.cells": 8, "search.nodes": 4, "retrain.network.auxiliary": True, "retrain.network.cells": 20,
        "kendall_tau.deep_network": {"channels": 16, "cells": 4, "auxiliary": False},
    }  # fmt: skip
    with pytest.raises(UserError, match=r"search\.nodes: the cells of space nasbench201 have their own numbers"):
        params.changed(changes)
    with pytest.raises(UserError) as caught:
        params.changed({**changes, "search.nodes": None, "transfer": {"data": {"source": "digits", "size": 32}}})
    complaints = [re.sub(r"^.*?nasbench201\.yaml(:\d+)?: ", "", line) for line in str(caught.value).splitlines()]
    assert set(complaints) == {
        "search.cells: networks of nasbench201 have a multiple of 3 (got 8)",
        "retrain.network.cells: networks of nasbench201 have a multiple of 3 (got 20)",
        "retrain.network.auxiliary: networks of nasbench201 have no auxiliary head; set it to false (got true)",
        "kendall_tau.deep_network.cells: networks of nasbench201 have a multiple of 3 (got 4)",
        "transfer.data: networks of nasbench201 are not made for large images; set data: null",
    }
    with pytest.raises(
        UserError, match=r"methods\.pdarts\.cells: networks of nasbench201 have a multiple of 3 \(got 5\)"
    ):
        params.changed({"search.method": "pdarts", "methods.pdarts.cells": [5, 9, 15]})
    with pytest.raises(UserError, match=r"methods\.pcdarts\.stem: networks of nasbench201 have the stem cifar"):
        params.changed({"search.method": "pcdarts", "methods.pcdarts.stem": "imagenet", "data.size": 32})
