"""A bank is filled in the order that is useful first, goes on where it was, and holds what a network really reaches."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import pytest
import torch

from nascommon.config import load_params
from nascommon.data.loading import open_data
from nascommon.pipeline.banking import Plan, fill_bank
from nascommon.pipeline.paths import BASELINE, TARGET_DATA
from nascommon.pipeline.retrain import Retraining
from nascommon.runtime.steps import finished
from nascommon.settings import UserError
from nascommon.training.loop import predict, training_steps
from nascommon.truth.bank import read_bank
from tests.stages.project import Project


def test_all_architectures_come_first_and_then_the_other_seeds_of_some() -> None:
    assert Plan(3, 3, 1).pairs() == [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (2, 1), (1, 2), (2, 2)]
    assert Plan(2, 1, 100).pairs() == [(0, 0), (1, 0)]


def test_a_bank_goes_on_where_it_was_and_holds_test_accuracies(
    prepared: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.change(
        retrain__network={"channels": 2, "cells": 3, "auxiliary": False},
        retrain__training={"epochs": 1, "batch_size": 60, "cutout": 0},
        retrain__holdout=0.0,
    )
    with contextlib.chdir(prepared.folder):
        params, bank = load_params(Path("params.yaml")), Path("bank.csv")
        fill = partial(fill_bank, params, TARGET_DATA, bank, workers=1, command="python make.py")
        fill(Plan(1, 1, 1))
        before = bank.read_text(encoding="utf-8")
        capsys.readouterr()
        fill(Plan(2, 1, 1))
        assert bank.read_text(encoding="utf-8").startswith(before)
        assert "network 1/1" in capsys.readouterr().out
        first, second = read_bank(bank).rows
        assert first.genotype != second.genotype
        retraining = Retraining(params.retrain, open_data(TARGET_DATA, 0, torch.device("cpu")), BASELINE)
        kept, _ = retraining.pictures()
        network = finished(training_steps(
            first.genotype, retraining.spec("float32"), params.retrain.training,
            kept.training(60, "baseline", seed=first.seed), seed=first.seed, device=torch.device("cpu"),
        )).network  # fmt: skip
        test = retraining.data.evaluation(retraining.data.prepared.part("test"), 7)
        logits, labels = predict(network, test)
        assert first.accuracy == float((logits.argmax(1) == labels).double().mean())
        assert first.params == sum(parameter.numel() for parameter in network.parameters())
        with pytest.raises(UserError, match=r"training\.epochs differs \(1 there, 2 here\)"):
            fill_bank(
                params.changed({"retrain.training.epochs": 2}), TARGET_DATA, bank, Plan(3, 1, 1), workers=1, command=""
            )
