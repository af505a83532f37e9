"""Kernels of a GPU are run by Triton's interpreter, which must be asked for before Triton is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def passes_in_interpreter(module: str, every: str) -> None:
    """Run a module of these tests in a process of its own: ``--few`` or ``--all`` of its cases."""
    pytest.importorskip("triton")
    command, environment = [sys.executable, "-m", module, every], os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
