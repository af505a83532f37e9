"""A project of the smoke preset in a folder of its own, and stages run there as a user runs them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from nascommon.config import load_params
from stages.cli import run_stage

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "presets" / "smoke.yaml"
MODULES = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
"""Where the caller of the tests says that modules are; processes that they start run in other folders."""
PATIENCE = 100
"""Seconds that a process may take before a test gives it up."""
MEASURED = ("seconds", "images_per_second", "peak_memory_mib")
"""Endings of the names of figures that differ from run to run."""


@dataclass(frozen=True)
class CommandResult:
    """Status and output of a command that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A folder with a params file, and what the stages wrote there."""

    folder: Path

    @property
    def params(self) -> Path:
        """Its params file."""
        return self.folder / "params.yaml"

    def copy(self, destination: Path) -> Project:
        """A copy that may be changed."""
        shutil.copytree(self.folder, destination)
        return Project(destination)

    def change(self, **values: Any) -> Project:
        """Set values by dotted name, the dots written as double underscores: ``search__method="random"``."""
        tree = load_params(self.params).model_dump(mode="json")
        for name, value in values.items():
            *sections, key = name.split("__")
            section = tree
            for part in sections:
                section = section[part]
            section[key] = value
        self.params.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # JSON is YAML
        return self

    def stage(self, name: str) -> str:
        """Run a stage inside this process; return what it printed. What it raises comes through."""
        main = importlib.import_module(f"stages.{name}").main
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            main(params=Path("params.yaml"))
        return out.getvalue()

    def stages(self, *names: str) -> str:
        """Run stages inside this process, one after the other."""
        return "".join(self.stage(name) for name in names)

    def after(self, *names: str) -> Project:
        """Run stages as ``stages`` does, and return the project."""
        self.stages(*names)
        return self

    def command(self, name: str, *arguments: str) -> CommandResult:
        """Run ``python -m stages.NAME ARGUMENTS`` inside this process, through its command line."""
        return command(importlib.import_module(f"stages.{name}").main, self.folder, *arguments)

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a stage as a process of its own, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-u", "-m", f"stages.{name}"], cwd=self.folder, env=self.environment(ROOT),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, name: str) -> CommandResult:
        """Run a stage as a process of its own to its end."""
        process = self.start(name)
        out, err = process.communicate(timeout=PATIENCE)
        return CommandResult(process.returncode, out, err)

    @staticmethod
    def environment(first: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment of a user who has activated ours: one thread, compiled modules kept.

        Modules are looked for in ``first`` and then where the caller of the tests has his.
        """
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        modules = [*([] if first is None else [str(first)]), *MODULES]
        return {**kept, "PATH": path, "PYTHONPATH": os.pathsep.join(modules), "OMP_NUM_THREADS": "1", **more}

    def json(self, path: str) -> Any:
        """Read a JSON file of the project."""
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def metrics(self, *stages: str) -> dict[str, Any]:
        """Read metrics of stages without what differs from run to run."""
        return {stage: repeatable(self.json(f"data/metrics/{stage}.json")) for stage in stages}

    def checkpoints(self) -> list[Path]:
        """Return the resume files that lie there."""
        return sorted(path for path in (self.folder / ".checkpoints").rglob("*") if path.is_file())


def new_project(folder: Path, preset: Path = SMOKE) -> Project:
    """Make a project of a preset."""
    folder.mkdir(parents=True)
    shutil.copy(preset, folder / "params.yaml")
    return Project(folder)


def command(main: Callable[..., None], folder: Path, *arguments: str) -> CommandResult:
    """Run a stage's command line inside this process, in ``folder``."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["stage", *arguments]),
    ):  # fmt: skip
        try:
            run_stage(main)
        except SystemExit as end:
            status = int(end.code or 0)
    return CommandResult(status, out.getvalue(), err.getvalue())


def repeatable(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that every run of the same seed repeats."""
    return {name: value for name, value in figures.items() if not name.endswith(MEASURED)}


def held(file: Path) -> dict[str, Any]:
    """Return the state that a checkpoint holds, as a process that works may write and remove it; empty is none."""
    with contextlib.suppress(FileNotFoundError):
        state = torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
        return dict(state)
    return {}


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Read what a process prints up to the first line that contains ``wanted``."""
    assert process.stdout is not None
    lines = []
    for line in _lines(process):
        lines.append(line)
        if wanted in line:
            return lines
    assert process.stderr is not None
    raise AssertionError(f"{wanted!r} was never said:\n{''.join(lines)}{process.stderr.read()}")


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    ends = time.monotonic() + PATIENCE
    while line := process.stdout.readline():
        assert time.monotonic() < ends, "the process takes too long"
        yield line
