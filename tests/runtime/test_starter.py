"""What a starter of ranks has started ends with it, from its first moment on; other processes may outlive a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nascommon.runtime.starter import ELASTIC

CHILD = """
import time
from nascommon.runtime.starter import end_with_starter
end_with_starter()
print("watches", flush=True)
time.sleep(60)
"""
STARTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("elastic", [True, False])
def test_a_rank_ends_with_its_starter(elastic: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != ELASTIC}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, CHILD], cwd=ROOT, env=environment | ({ELASTIC: "run"} if elastic else {}),
        stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        assert starter.stdout.readline() == "watches\n"
        starter.kill()
    _, alive = psutil.wait_procs([child], timeout=20 if elastic else 3)
    for left in alive:
        left.kill()
    assert bool(alive) != elastic


def test_nothing_heavy_is_imported_before_a_rank_watches() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import sys, stages; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {*ended.stdout.split()}
    assert "nascommon.runtime.starter" in loaded
    assert not {"torch", "numpy", "pydantic"} & loaded
