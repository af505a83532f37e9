"""Any params file that is accepted runs: DVC itself reads the keys of every stage from it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.method import REGISTRY
from tests.stages.project import ROOT, Project

pytestmark = pytest.mark.pipeline

READ = """
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
for stage in Repo(".").index.stages:
    for watched in stage.deps:
        if isinstance(watched, ParamsDependency):
            watched.get_hash()
            print(stage.name)
"""
"""What DVC does with the params of a stage before and after it runs."""
OWN_PICTURES = {"source": "image_folder", "path": "/where/they/are", "size": 64}
LEAST = {
    "seed": 0, "precision": "auto", "data": OWN_PICTURES, "search": {"method": "da2s", "nodes": 4}, "methods": {},
    "discretize": {}, "retrain": {}, "transfer": {"data": None}, "kendall_tau": {}, "baseline": {}, "evaluate": {},
}  # fmt: skip


def asked(folder: Path, params: dict[str, Any]) -> list[str]:
    """The stages whose params DVC finds, in a project that holds nothing else."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    load_params(folder / "params.yaml")
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=folder, env=Project.environment(DVC_NO_ANALYTICS="1"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("method", ["da2s", pytest.param("", marks=pytest.mark.slow)])
def test_dvc_finds_all_it_watches_in_the_smallest_file_that_is_accepted(tmp_path: Path, method: str) -> None:
    for name in [method] if method else sorted(REGISTRY):
        folder = tmp_path / name
        folder.mkdir()
        tree = LEAST | {"search": {"method": name, "nodes": 4}, "methods": {name: {}}}
        assert asked(folder, tree) == [
            "prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate",
        ]  # fmt: skip
