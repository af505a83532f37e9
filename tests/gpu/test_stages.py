"""The stages run to their end on a GPU, in the precision that they choose there, killed in between or not."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
import torch

from benchmarks.gate import exact_numbers
from nascommon.training.artefact import load_network
from tests.stages.project import Project, new_project
from tests.stages.test_kill import LINE, assert_continues, kill

EPOCHS = 6
STAGES = ("discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")
RETRAINED = {"retrain": 8, "transfer": 32}
"""Stages that leave a network, and the pixels of its pictures."""


@pytest.fixture(
    scope="module", params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def prepared_there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The smoke preset on the device, its pictures ready."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    precision = "auto" if request.param == "cuda" else "bfloat16"
    project = new_project(tmp_path_factory.mktemp("gpu") / "project")
    project.change(device=request.param, precision=precision, jobs="auto", baseline__architectures=2)
    project.stages("inventory", "prepare")
    with exact_numbers():  # stages set up their process; what they set is put back
        yield project


@pytest.fixture(scope="module")
def searched_there(prepared_there: Project) -> Project:
    """The same after the search."""
    assert "search" in prepared_there.stage("search")
    return prepared_there


def test_every_stage_runs_to_its_end_there(searched_there: Project) -> None:
    project = searched_there
    project.stages(*STAGES)
    results = project.json("data/evaluate/results.json")
    assert results
    for stage, side in RETRAINED.items():
        network, _, metrics = load_network(project.folder / "data" / stage, torch.device("cpu"), stage)
        assert network.spec.precision == "bfloat16"
        assert (metrics["peak_memory_mib"] or 0) > 0
        with torch.no_grad():
            logits = network(torch.zeros(2, network.spec.image_channels, side, side))
        assert logits.isfinite().all()
    assert project.checkpoints() == []


def test_the_estimate_knows_the_device(searched_there: Project) -> None:
    output = searched_there.command("check")
    assert output.status == 0, output.err
    assert "MiB" in output.out


@pytest.mark.parametrize("stage", ["search", "retrain"])
def test_killed_and_resumed_a_stage_runs_to_its_end(
    stage: str, searched_there: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = searched_there.copy(tmp_path_factory.mktemp("killed") / stage)
    project.change(methods__darts__epochs=EPOCHS, retrain__training__epochs=EPOCHS)
    if stage == "retrain":
        project.stage("discretize")
    kill(project.start(stage), after=f"{LINE[stage]} 2/")
    assert_continues(project.command(stage), stage)
    assert project.checkpoints() == []
    table = pd.read_csv(project.folder / f"data/plots/{stage}.csv")
    assert table["epoch"].tolist() == list(range(EPOCHS))
    assert table["train_loss"].between(0, 10).all()
