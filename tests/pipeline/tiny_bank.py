"""A bank for a project of a test: random architectures with accuracies that nobody has measured."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from nascommon.config import load_params
from nascommon.data.prepared import open_prepared
from nascommon.pipeline.paths import TARGET_DATA
from nascommon.runtime.seeding import generator
from nascommon.space.draws import random_genotype
from nascommon.truth.bank import Head, Row, add_rows
from nascommon.truth.protocol import TrainingProtocol
from tests.stages.project import Project
from tests.truth.small import CERTIFICATE

NAME = "own.csv"


def with_bank(project: Project, accuracies: Sequence[Sequence[float]]) -> Project:
    """Write a bank by the protocol of a project and name it in its settings; a list of accuracies per architecture."""
    project.change(baseline__bank=NAME)
    with contextlib.chdir(project.folder):
        params = load_params(Path("params.yaml"))
        space, manifest = params.search.chosen_space(), open_prepared(TARGET_DATA).manifest
        protocol = TrainingProtocol.of(params.retrain, manifest, space, "float32")
        rows = [
            Row(random_genotype(space, generator(0, "tiny", index)), seed, accuracy, 1000 + index, 1.0, CERTIFICATE)
            for index, trainings in enumerate(accuracies)
            for seed, accuracy in enumerate(trainings)
        ]
        add_rows(Path(NAME), Head(command="by hand", protocol=protocol), rows)
    project.stage("inventory")
    return project
