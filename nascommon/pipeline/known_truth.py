"""What a table knows of the architecture that was found: its rank among all, without one retraining."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nascommon.cost.footprint import Shape
from nascommon.pipeline.estimate import step_seconds
from nascommon.pipeline.run import Run
from nascommon.space.genotype import Genotype
from nascommon.space.nasbench201 import NAME
from nascommon.space.nasbench201_text import from_digits
from nascommon.space.network import NetworkSpec
from nascommon.training.settings import TrainingSettings
from nascommon.truth.judgement import judge, random_search
from nascommon.truth.table import PROTOCOL, Table, find_table, load_table, no_table

CIFAR_10 = Shape(images=50_000, channels=3, height=32, width=32, classes=10)
NETWORK = NetworkSpec(channels=16, cells=15, classes=CIFAR_10.classes, auxiliary=False)
TRAINING = TrainingSettings(epochs=200, batch_size=256, lr=0.1, weight_decay=5e-4, drop_path=0.0, cutout=0)
"""The benchmark's, as far as it decides what a step costs."""


def known_truth(run: Run, genotype: Genotype, search_seconds: float) -> dict[str, Any] | None:
    """Return what is known of the architecture that a search found, as plain values for the report.

    The table holds no times, so that of training a cell is estimated: a step of one of average size is timed, here and
    now, on the device of the stage.

    Args:
        run: of the stage.
        genotype: what was found.
        search_seconds: what finding it took.

    Returns:
        None for a space of which no table is known; ``unknown`` alone, the reason, where the table has other pictures.
    """
    if genotype.skeleton != NAME:
        return None
    source = run.params.data.source
    own = find_table(NAME, source)
    if own is None:
        return {"unknown": no_table(source)}
    table = load_table()
    training_seconds = seconds_of_training(run, table)
    seconds = {"search_seconds": search_seconds, "training_seconds": training_seconds}
    drawn = random_search(table, own, search_seconds / training_seconds)
    return {"protocol": PROTOCOL, **judge(table, genotype, own), "random_search": {**seconds, **drawn}}


def seconds_of_training(run: Run, table: Table) -> float:
    """Return the seconds that the benchmark's training of a cell of average size would take on this device."""
    average = from_digits(table.digits[int(np.abs(table.macs - table.macs.mean()).argmin())])
    spec = replace(NETWORK, precision=run.precision)
    step = step_seconds(TRAINING, spec, CIFAR_10, run.device, torch.get_num_threads(), average)
    return step * CIFAR_10.images / TRAINING.batch_size * TRAINING.epochs
