"""No setting of a stage is ignored: what the stage hands to the code that computes follows every one of them."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from nascommon.config import load_params
from nascommon.data.settings import Augment
from nascommon.gaps.settings import DiscretizeSettings, KendallSettings
from nascommon.search.settings import SearchSettings
from nascommon.space.space import find_space
from nascommon.training.settings import BaselineSettings, NetworkSettings, RetrainSettings, TrainingSettings
from tests.search.small import equal
from tests.stages.project import Project

PROTOCOL: dict[str, Any] = {
    "epochs": 4, "batch_size": 7, "pieces": 2, "lr": 0.3, "schedule": "exponential", "lr_min": 0.01, "gamma": 0.5,
    "warmup_epochs": 2, "momentum": 0.4, "weight_decay": 0.02, "clip": 1.5, "label_smoothing": 0.2,
    "auxiliary_weight": 0.1, "drop_path": 0.3, "cutout": 4,
}  # fmt: skip
NETWORK: dict[str, Any] = {
    "channels": 6, "cells": 5, "auxiliary": False, "stem": "cifar", "auxiliary_second_norm": False
}  # fmt: skip
WHERE = {
    "retrain": "training_steps", "transfer": "training_steps", "baseline": "train_many", "kendall_tau": "train_many",
    "search": "run_search", "discretize": "operation_gap",
}  # fmt: skip


class ReachedError(Exception):
    """The stage has called what computes, with these arguments by name."""


@pytest.fixture
def here(searched: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A searched smoke project, in whose folder the test runs: streamed pictures are found from there."""
    monkeypatch.chdir(searched.folder)
    return searched


def handed(project: Project, stage: str, **changes: Any) -> dict[str, Any]:
    """Run a stage with changed settings up to where it would compute; return what it hands over."""
    home = "retrain" if WHERE[stage] == "training_steps" else stage
    module = importlib.import_module(f"nascommon.pipeline.{home}")
    signature = inspect.signature(getattr(module, WHERE[stage]))

    def reached(*arguments: Any, **named: Any) -> None:
        raise ReachedError(signature.bind(*arguments, **named).arguments)

    project.change(**changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, WHERE[stage], reached)
        with pytest.raises(ReachedError) as caught:
            project.stage(stage)
    found: dict[str, Any] = caught.value.args[0]
    return found


def training_batches(found: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the training images of the first epoch; of several networks, of one of the seed 1."""
    make = found["batches"]
    return list((make(seed=1) if callable(make) else make).epoch(0))


def test_the_values_that_are_set_here_are_all_there_are() -> None:
    assert set(TrainingSettings.model_fields) == set(PROTOCOL)
    assert set(NetworkSettings.model_fields) == set(NETWORK)
    assert set(RetrainSettings.model_fields) == {"network", "training", "holdout", "skip", "seeds"}
    assert set(SearchSettings.model_fields) == {
        "method", "space", "channels", "cells", "nodes", "candidates", "pieces", "watch_every", "snapshots",
        "none_wins", "affine",  # tests/space/test_nasbench201.py
    }  # fmt: skip
    assert set(DiscretizeSettings.model_fields) == {"calibration_batches", "batch_size", "worth_images", "genotype"}
    # Seeds and bank: tests/pipeline/test_banking.py, test_against_random.py.
    assert set(BaselineSettings.model_fields) == {"architectures", "seeds", "bank"}
    assert set(KendallSettings.model_fields) == {
        "mode", "architectures", "source", "search_score", "calibration_batches", "retest", "network",
        "deep_network", "training",
        # tests/pipeline/test_known_ranking.py, test_known_sampled.py
        "truth", "known_architectures", "known_by_epoch", "known_sampled", "known_images",
    }  # fmt: skip


# -- training --


@pytest.mark.parametrize("stage", ["retrain", "transfer", "baseline", "kendall_tau"])
def test_every_setting_of_network_and_protocol_reaches_the_training(here: Project, stage: str) -> None:
    section = "retrain" if stage == "baseline" else stage
    network = NETWORK | {"stem": "imagenet" if stage == "transfer" else "cifar"}  # no other is allowed there
    named = {f"{section}__training": PROTOCOL, f"{section}__network": network}
    whole = handed(here, stage, **{**named, f"{section}__training": PROTOCOL | {"cutout": 0}})
    found = handed(here, stage, **named)
    settings = getattr(load_params(here.params), section)
    assert found["settings"] == settings.training == TrainingSettings.model_validate(PROTOCOL)
    spec = found["spec"] if "spec" in found else found["jobs"][0].spec
    assert spec == settings.network.spec(classes=spec.classes, image_channels=spec.image_channels)
    assert spec == NetworkSettings.model_validate(network).spec(classes=10, image_channels=spec.image_channels)
    images, labels = (torch.cat(parts) for parts in zip(*training_batches(found), strict=True))
    assert {len(batch) for batch, _ in training_batches(found)} == {PROTOCOL["batch_size"]}
    uncut, same = (torch.cat(parts) for parts in zip(*training_batches(whole), strict=True))
    assert torch.equal(labels, same)
    assert not images[images != uncut].any()
    shares = (images != uncut).any(dim=1).double().mean(dim=(1, 2)) * images.shape[2] * images.shape[3]
    assert shares.max() <= PROTOCOL["cutout"] ** 2
    assert shares.mean() > 1


@pytest.mark.parametrize("stage", ["retrain", "transfer", "baseline"])
def test_the_share_that_is_held_out_is_watched_and_not_trained_on(here: Project, stage: str) -> None:
    section = "retrain" if stage == "baseline" else stage
    sizes = []
    for share in (0.0, 0.25):
        found = handed(here, stage, **{f"{section}__holdout": share, f"{section}__training__batch_size": 2})
        valid = found.get("validation")
        held_out = [] if valid is None else list((valid if hasattr(valid, "epoch") else valid()).epoch(0))
        trained = 2 * len(training_batches(found))  # but for a last odd one
        sizes.append((trained, sum(len(labels) for _, labels in held_out)))
    (everything, none), (kept, held) = sizes
    assert none == 0
    assert kept + held == pytest.approx(everything, abs=2)
    assert held == pytest.approx(0.25 * everything, abs=10)  # as many of each of ten classes


VARIED: list[tuple[str, str, dict[str, Any]]] = [
    ("retrain", "data", {"crop_padding": 0}),
    ("retrain", "data", {"flip": True}),
    ("transfer", "transfer__data", {"flip": True}),
    ("transfer", "transfer__data", {"resized_crop_scale": [0.1, 0.2]}),
    ("transfer", "transfer__data", {"color_jitter": [0.0, 0.0, 0.0, 0.0]}),
]
"""Stage that sees it: retrain has its images in memory, transfer reads files."""


def test_every_way_to_vary_images_is_tried() -> None:
    assert set(Augment.model_fields) == {name for _, _, change in VARIED for name in change}


@pytest.mark.parametrize(("stage", "section", "change"), VARIED, ids=str)
def test_every_way_to_vary_images_reaches_the_training_images(
    here: Project, stage: str, section: str, change: dict[str, Any]
) -> None:
    before = training_batches(handed(here, stage))
    other = {f"{section}__augment__{name}": value for name, value in change.items()}
    here.change(**other).stage("prepare")  # writes it down for the stages after it
    assert not equal(training_batches(handed(here, stage)), before)


# -- ranking --


def test_kendall_tau_trains_as_many_architectures_in_as_many_rounds_as_are_set(searched: Project) -> None:
    deep = NETWORK | {"cells": 7}
    found = handed(searched, "kendall_tau", kendall_tau__network=NETWORK, kendall_tau__deep_network=deep)
    rounds = [(job.name, job.spec.cells) for job in found["jobs"]]
    assert rounds == [(f"{name}_{i}", cells) for name, cells in (("first", 5), ("second", 5), ("deep", 7))
                      for i in range(3)]  # fmt: skip
    shallow = handed(searched, "kendall_tau", kendall_tau__deep_network=None)
    assert [job.name for job in shallow["jobs"]] == [f"{name}_{i}" for name in ("first", "second") for i in range(3)]
    once = handed(searched, "kendall_tau", kendall_tau__retest=False, kendall_tau__architectures=4)
    assert [job.name for job in once["jobs"]] == [f"first_{i}" for i in range(4)]


@pytest.mark.parametrize("architectures", [1, 3])
def test_baseline_trains_as_many_architectures_as_are_set(searched: Project, architectures: int) -> None:
    jobs = handed(searched, "baseline", baseline__architectures=architectures)["jobs"]
    assert len({job.genotype for job in jobs}) == len(jobs) == architectures


# -- search and discretize --


def test_every_setting_of_the_search_reaches_the_loop(prepared: Project) -> None:
    found = handed(prepared, "search", seed=5, methods__darts__batch_size=9, search={
        "method": "darts", "channels": 6, "cells": 5, "nodes": 3, "pieces": 2, "watch_every": 7, "snapshots": 2,
        "candidates": ["skip_connect", "sep_conv_3x3"],
    })  # fmt: skip
    base = found["base"]
    assert (base.channels, base.cells, base.classes) == (6, 5, 10)
    assert base.space == find_space("darts", 3, ("skip_connect", "sep_conv_3x3"))
    assert (found["method"].phases[0].channels, found["method"].phases[0].cells) == (6, 5)
    assert (found["pieces"], found["watch_every"], found["seed"]) == (2, 7, 5)
    sizes = {name: len(next(iter(batches.epoch(0))).labels) for name, batches in vars(found["data"]).items()}
    assert sizes == {"weights": 9, "architecture": 9, "validation": 5}  # scores take a piece of two at a time
    assert found["hooks"].on_snapshot.__self__.epochs == {1, 2}  # two of three epochs, the last included
    chosen = {"method": "darts", "space": "s4"}
    assert handed(prepared, "search", search=chosen)["base"].space == find_space("s4")
    assert handed(prepared, "search", search__method="pcdarts")["method"].mixed_op.channel_divisor == 2


def test_every_setting_of_discretize_reaches_its_measurements(
    searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = importlib.import_module("nascommon.pipeline.discretize").discretization_gap

    def measuring(*arguments: Any) -> Any:
        seen.append(arguments[2])
        return real(*arguments)

    monkeypatch.setattr("nascommon.pipeline.discretize.discretization_gap", measuring)
    found = handed(
        searched, "discretize", discretize={"batch_size": 6, "calibration_batches": 3, "worth_images": 11}
    )  # fmt: skip
    assert [len(labels) for _, labels in seen[0]] == [6, 6, 6]
    assert sum(len(labels) for _, labels in found["valid"]) == 11
    assert handed(searched, "discretize", discretize__worth_images=0)["valid"] is None
