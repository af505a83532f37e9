"""A stage that is killed at any moment goes on where it was and ends with the very same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.training.artefact import load_network
from tests.stages.project import PATIENCE, CommandResult, Project, lines_until, repeatable

pytestmark = pytest.mark.slow

EPOCHS = 6
LINE = {name: f"{name} epoch" for name in ("search", "retrain", "transfer")} | {
    name: f"{name} network" for name in ("kendall_tau", "baseline")
}


@pytest.fixture(scope="module")
def longer(searched_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The searched smoke project with more epochs, and every stage to be killed once run without a break."""
    project = searched_once.copy(tmp_path_factory.mktemp("kill") / "longer")
    project.change(
        methods__darts__epochs=EPOCHS, search__snapshots=3, retrain__training__epochs=9,
        transfer__training__epochs=9, kendall_tau__training__epochs=EPOCHS, baseline__architectures=4,
    )  # fmt: skip
    return project


@pytest.fixture(scope="module")
def unbroken(longer: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """``unbroken(stage)``: a project in which the stage ran to its end in one go."""
    done: dict[str, Project] = {}

    def one(stage: str) -> Project:
        if stage not in done:
            done[stage] = longer.copy(tmp_path_factory.mktemp("unbroken") / stage)
            done[stage].stage(stage)
        return done[stage]

    return one


def kill(process: subprocess.Popen[str], *, after: str, within: float = 0.0) -> list[str]:
    """Kill -9 a stage and its children when a line has appeared, and at most ``within`` seconds later."""
    try:
        result = lines_until(process, after)
        time.sleep(within * random.random())
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    return result


def assert_same_outputs(ours: Path, theirs: Path) -> None:
    """Weights bit-identical, tables and descriptions equal but for measured figures."""
    files = {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()}
    assert {path.relative_to(ours) for path in ours.rglob("*") if path.is_file()} == files
    compared = 0
    for file in files:
        if file.suffix == ".safetensors":
            expected, got = load_file(theirs / file), load_file(ours / file)
            assert set(got) == set(expected)
            assert [name for name in expected if not torch.equal(got[name], expected[name])] == [], file
            compared += 1
        elif file.suffix in (".parquet", ".csv"):
            read = pd.read_parquet if file.suffix == ".parquet" else pd.read_csv
            tables = [read(root / file).drop(columns="seconds", errors="ignore") for root in (ours, theirs)]
            pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
            compared += 1
    assert compared


def figures(project: Project, stage: str) -> Any:
    curve = project.folder / f"data/plots/{stage}.csv"
    table = pd.read_csv(curve).drop(columns="seconds", errors="ignore").to_dict() if curve.exists() else None
    return repeatable(project.json(f"data/metrics/{stage}.json")), str(table)


def assert_continues(result: CommandResult, stage: str) -> None:
    assert result.status == 0, result.err
    assert "Traceback" not in result.err
    assert f"{stage}: continuing after" in result.out


@pytest.mark.parametrize("stage", ["search", "retrain", "transfer", "kendall_tau", "baseline"])
def test_killed_twice_a_stage_ends_bit_identical(
    stage: str, longer: Project, unbroken: Callable[[str], Project], tmp_path: Path
) -> None:
    project, whole = longer.copy(tmp_path / "project"), unbroken(stage)
    kill(project.start(stage), after=f"{LINE[stage]} 2/")
    done = finished_networks(project)
    kill(project.start(stage), after=f"{LINE[stage]} 3/", within=0.3)
    assert project.checkpoints()
    assert finished_networks(project) | done == finished_networks(project), "what was trained is trained again"
    assert_continues(project.command(stage), stage)
    assert project.checkpoints() == []
    assert_same_outputs(project.folder / "data" / stage, whole.folder / "data" / stage)
    assert figures(project, stage) == figures(whole, stage)
    if stage == "search":
        assert genotype_of(project) == genotype_of(whole)
    if stage in ("retrain", "transfer"):
        assert torch.equal(logits_of(project, stage), logits_of(whole, stage))


def finished_networks(project: Project) -> set[tuple[str, int]]:
    """The resume files of the first two networks of a stage that trains many, with the moment they were written."""
    files = [path for path in project.checkpoints() if path.stem in ("first_0", "first_1", "random_000", "random_001")]
    return {(path.name, path.stat().st_mtime_ns) for path in files}


def genotype_of(project: Project) -> Genotype:
    """Return what the search's end is discretized to."""
    project.stage("discretize")
    return genotype_from_json(project.json("data/discretize/genotype.json"))


def logits_of(project: Project, stage: str) -> Tensor:
    """Return the outputs of the trained network for fixed images."""
    network, _, _ = load_network(project.folder / "data" / stage, torch.device("cpu"), stage)
    side, channels = (32 if stage == "transfer" else 8), network.spec.image_channels
    logits: Tensor = network(torch.linspace(-1, 1, 5 * channels * side**2).reshape(5, channels, side, side))
    return logits


def test_the_further_searches_of_multi_run_go_on_too(longer: Project, tmp_path: Path) -> None:
    longer_multi = longer.copy(tmp_path / "whole").change(
        kendall_tau__mode="multi_run", kendall_tau__retest=False, kendall_tau__training__epochs=1
    )
    project = longer_multi.copy(tmp_path / "project")
    longer_multi.stage("kendall_tau")
    kill(project.start("kendall_tau"), after="kendall_tau search 1/", within=1.0)
    assert any("search_1" in path.name for path in project.checkpoints())
    project.stage("kendall_tau")
    assert project.checkpoints() == []
    assert_same_outputs(project.folder / "data/kendall_tau", longer_multi.folder / "data/kendall_tau")


@pytest.mark.parametrize(("stage", "workers"), [("search", 0), ("transfer", 2)])
def test_ctrl_c_ends_with_one_line_and_the_next_run_continues(
    stage: str, workers: int, longer: Project, unbroken: Callable[[str], Project], tmp_path: Path
) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this shell lets its jobs ignore Ctrl-C")
    project = longer.copy(tmp_path / "project").change(transfer__data__workers=workers)
    if workers:
        project.stages("inventory", "prepare")
    process = project.start(stage)
    lines_until(process, f"{LINE[stage]} 2/")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.splitlines() == ["stopped; `dvc repro` continues from the last finished epoch"]
    assert_continues(project.command(stage), stage)
    assert_same_outputs(project.folder / "data" / stage, unbroken(stage).folder / "data" / stage)


def test_changed_settings_start_anew_and_the_old_ones_go_on_where_they_were(
    longer: Project, unbroken: Callable[[str], Project], tmp_path: Path
) -> None:
    project = longer.copy(tmp_path / "project")
    old = project.params.read_bytes()
    kill(project.start("search"), after="search epoch 2/")
    project.change(search__channels=4)
    result = project.command("search")
    assert result.status == 0
    assert "continuing" not in result.out
    assert f"search epoch 1/{EPOCHS}" in result.out
    project.params.write_bytes(old)
    result = project.command("search")
    assert_continues(result, "search")
    assert "search epoch 1/" not in result.out
    assert_same_outputs(project.folder / "data/search", unbroken("search").folder / "data/search")


def test_settings_that_change_no_number_do_not_lose_the_resume_file(longer: Project, tmp_path: Path) -> None:
    project = longer.copy(tmp_path / "project")
    kill(project.start("retrain"), after="retrain epoch 2/")
    project.change(methods__random__epochs=99, kendall_tau__architectures=7, evaluate__linear_classifier=False)
    assert "retrain: continuing after" in project.stage("retrain")


def test_a_torn_checkpoint_is_refused_and_the_stage_starts_over(
    longer: Project, unbroken: Callable[[str], Project], tmp_path: Path
) -> None:
    project = longer.copy(tmp_path / "project")
    kill(project.start("search"), after="search epoch 3/")
    (state,) = [path for path in project.checkpoints() if path.name == "state.ckpt"]
    state.write_bytes(state.read_bytes()[:-100])
    result = project.command("search")
    assert result.status == 0
    assert "state.ckpt: not taken up" in result.err
    assert "starting over" in result.err
    assert f"search epoch 1/{EPOCHS}" in result.out
    assert_same_outputs(project.folder / "data/search", unbroken("search").folder / "data/search")
