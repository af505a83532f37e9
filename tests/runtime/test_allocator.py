"""A process that keeps freed memory does not ask the system for it again."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from nascommon.runtime.allocator import keep_freed_memory

PROGRAM = """
import resource, sys, torch
from nascommon.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    tensors = [torch.zeros(2**20) for _ in range(50)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so readily")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    assert faults("keep") < faults("usual") / 5


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    keep_freed_memory()
