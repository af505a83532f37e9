"""The stages that train many networks end alike however many they train at a time, killed or not."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.stages import project as projects
from tests.stages.project import Project, held, lines_until
from tests.stages.test_kill import assert_continues, assert_same_outputs, figures, kill

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", ["kendall_tau", "baseline"])
def test_killed_side_by_side_and_taken_up_with_other_jobs_a_stage_ends_bit_identical(
    stage: str, searched_once: Project, tmp_path: Path
) -> None:
    whole = searched_once.copy(tmp_path / "whole").change(baseline__architectures=4)
    project = whole.copy(tmp_path / "project").change(jobs=2)
    whole.stage(stage)
    kill(project.start(stage), after=f"{stage} network 2/", within=0.3)
    assert project.checkpoints()
    project.change(jobs=3)
    assert_continues(project.command(stage), stage)
    assert project.checkpoints() == []
    assert_same_outputs(project.folder / "data" / stage, whole.folder / "data" / stage)
    assert figures(project, stage) == figures(whole, stage)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return Ray's workers that are at a piece of a stage."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.cmdline() and child.cmdline()[0].startswith("ray::random")]


def test_on_ray_with_a_worker_killed_in_the_middle_a_stage_ends_as_one_by_one(
    searched_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "PATIENCE", 300)  # Ray takes half a minute to start, and its workers are niced
    settings = {"baseline__architectures": 4, "retrain__training__epochs": 12}
    whole = searched_once.copy(tmp_path / "whole").change(**settings)
    whole.stage("baseline")
    project = whole.copy(tmp_path / "project").change(jobs=2, executor="ray")
    process = project.start("baseline")
    said = lines_until(process, "baseline network 1/")
    ends = time.monotonic() + 60
    while not (found := workers(process)):
        assert time.monotonic() < ends, "no worker is at a network"
    found[-1].kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "its worker was lost" in err
    assert "another takes it up from its checkpoint" in err
    assert "baseline network 4/4" in "".join(said) + out
    assert_same_outputs(project.folder / "data" / "baseline", whole.folder / "data" / "baseline")
    assert figures(project, "baseline") == figures(whole, "baseline")
    assert project.checkpoints() == []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray of two machines with a CPU each, both of them this one."""
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        found.add_node(num_cpus=1)
        yield found
    finally:
        found.shutdown()


def pieces_at(raylet: int) -> dict[str, psutil.Process]:
    """Return the workers of a machine's raylet that are at a network, by its name."""
    workers = [one for one in psutil.process_iter(["ppid", "cmdline"]) if one.info["ppid"] == raylet]
    names = {"".join(one.info["cmdline"] or []).strip(): one for one in workers}
    return {name.removeprefix("ray::"): one for name, one in names.items() if name.startswith("ray::random")}


def test_on_ray_with_a_machine_lost_in_the_middle_a_stage_ends_as_one_by_one(
    cluster: Any, searched_once: Project, tmp_path: Path
) -> None:
    settings = {"baseline__architectures": 2, "retrain__training__epochs": 30}
    whole = searched_once.copy(tmp_path / "whole").change(**settings)
    whole.stage("baseline")
    project = whole.copy(tmp_path / "project").change(jobs=2, executor=cluster.address)
    process = project.start("baseline")
    (second,) = cluster.worker_nodes
    raylet = second.all_processes["raylet"][0].process.pid

    def epochs(name: str) -> int:
        files = (project.folder / ".checkpoints" / "baseline").glob(f"*/{name}.ckpt")
        return max((len(json.loads(state["rows"])) for file in files if (state := held(file))), default=0)

    ends = time.monotonic() + 240
    while not (lost := [name for name in pieces_at(raylet) if epochs(name) >= 2]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends, "the second machine is at no network"
        time.sleep(0.05)
    workers_of_it = pieces_at(raylet).values()
    cluster.remove_node(second, allow_graceful=False)
    for one in workers_of_it:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    seen = [epochs(lost[0])]
    assert 2 <= seen[0] < 30, "the network had ended before the machine was lost"
    while process.poll() is None:
        seen.append(epochs(lost[0]) or seen[-1])  # none when the stage has ended
        time.sleep(0.02)
    assert seen == sorted(seen), "the network began anew"
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert err.count(f"{lost[0]}: its worker was lost") == 1, err
    assert_same_outputs(project.folder / "data" / "baseline", whole.folder / "data" / "baseline")
    assert figures(project, "baseline") == figures(whole, "baseline")
    assert project.checkpoints() == []


def test_on_ray_the_searches_of_multi_run_end_as_one_by_one(
    searched_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "PATIENCE", 300)
    settings = {"mode": "multi_run", "architectures": 3, "retest": False, "deep_network": None}
    whole = searched_once.copy(tmp_path / "whole").change(
        **{f"kendall_tau__{key}": value for key, value in settings.items()}
    )
    project = whole.copy(tmp_path / "project").change(jobs=2, executor="ray")
    whole.stage("kendall_tau")
    ended = project.run("kendall_tau")
    assert ended.status == 0, ended.err
    assert_same_outputs(project.folder / "data" / "kendall_tau", whole.folder / "data" / "kendall_tau")
    assert figures(project, "kendall_tau") == figures(whole, "kendall_tau")
