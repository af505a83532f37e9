"""Kernels of a GPU are run by Triton's interpreter, which must be asked for before Triton is imported, or compiled."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def passes_in_interpreter(module: str, *options: str) -> None:
    """Run a module of these tests in a process of its own, such as with ``--all`` of its cases."""
    pytest.importorskip("triton")
    command, environment = [sys.executable, "-m", module, *options], os.environ | {"TRITON_INTERPRET": "1"}
    _passes(command, environment)


def passes_when_compiled() -> None:
    """Bind and compile the launches of ``compiled`` in a process of its own, whose driver of a GPU is none."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    _passes([sys.executable, "-m", "tests.kernels.compiled"], environment)


def _passes(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
