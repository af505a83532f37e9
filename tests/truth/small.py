"""A bank of a few architectures, made up."""

from __future__ import annotations

from typing import Any

import torch

import nascommon.space.spaces  # noqa: F401 -- fills the registry
from nascommon.data.settings import Augment
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import Genotype
from nascommon.space.space import SPACES
from nascommon.training.settings import NetworkSettings, TrainingSettings
from nascommon.truth.bank import Head, Row
from nascommon.truth.protocol import Pictures, TrainingProtocol, drawn_from

CERTIFICATE = ("0123abcd", 'CPU of "quotes", 1 threads', "2.15.0", "2026-11-26")


def head(**training: Any) -> Head:
    """Return the head of a bank; ``training`` changes its protocol."""
    pictures = Pictures(source="digits", classes=10, train=449, test=1348, content_hash="abc", augment=Augment())
    protocol = TrainingProtocol(
        data=pictures,
        space=drawn_from(SPACES["darts"]),
        network=NetworkSettings(channels=4, cells=3),
        training=TrainingSettings(**{"epochs": 24, **training}),
        holdout=0.0,
        precision="float32",
    )
    return Head(command="python make.py", protocol=protocol)


def genotype(index: int) -> Genotype:
    """Return one of many different genotypes."""
    return random_genotype(SPACES["darts"], torch.Generator().manual_seed(index))


def row(index: int, seed: int, accuracy: float) -> Row:
    """Return a training of one of these genotypes."""
    return Row(genotype(index), seed, accuracy, 5000 + index, 4.5, CERTIFICATE)
