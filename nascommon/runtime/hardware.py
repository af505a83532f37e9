"""The machine that computes, the part of it that this process may use, and the peak memory of the work."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from nascommon.runtime.allocator import keep_freed_memory
from nascommon.settings import UserError

KIBIBYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of ru_maxrss, which counts bytes on macOS and kibibytes elsewhere."""
CHOOSING_SECONDS, CHOSEN_GAIN = 45.0, 0.02
"""What cuDNN takes to try out its kernels for a network, at most and in every process anew: measured of a step of DARTS
on an H200 with torch 2.11. And the share of a step that the fastest save: 12 % were measured when depthwise and grouped
convolutions were cuDNN's. What is left to it is 2 % of a step of DARTS and 6 % of a training step by
``benchmarks.counts``, of which it cannot save more than a part."""
WORKSPACE, LARGER_WORKSPACE = 8320 * 1024, 32 * 2**20
"""Bytes that PyTorch gives cuBLAS to work in, where CUBLAS_WORKSPACE_CONFIG is not set; the larger from Hopper on."""
HOPPER = 9
"""Major number of its compute capability."""
WORKSPACES = 4
"""Of a training: steps are computed on one stream and recorded on another, forward and backward pass have a handle of
cuBLAS each, and PyTorch keeps a workspace for every pair of both until the process ends."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Folder in which a container says how much of the machine it may use."""


def cores() -> int:
    """Return how many CPU cores this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))


def resolve_device(name: str) -> torch.device:
    """Return the device that the setting ``device`` names; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device: must be auto, cpu, cuda or cuda:N (got {name!r})") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: must be auto, cpu, cuda or cuda:N (got {name!r})")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device: {name} is not there ({torch.cuda.device_count()} GPUs found); use auto or cpu")
    return device


def resolve_precision(name: str, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return what the setting ``precision`` names; ``auto`` is bfloat16 on a GPU that computes it."""
    if name == "auto":
        # What GPUs before Ampere only emulate, which is slow, PyTorch calls supported unless asked otherwise.
        computes = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if computes else "float32"
    return "bfloat16" if name == "bfloat16" else "float32"


def birthplace(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which to make a model that will be moved to a device.

    On the CPU, so that a seed gives the same weights everywhere; without data from the start where it is to have none.
    """
    return device if device.type == "meta" else nullcontext()


def tune(device: torch.device) -> None:
    """Set up this process: memory is kept; a GPU uses TF32 for float32 products."""
    keep_freed_memory()
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)  # whatever names none, such as a query, shall mean this one
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def choose_kernels(device: torch.device, seconds_left: float) -> None:
    """Let a GPU try out kernels for its convolutions if a phase is so long that the fastest win it back.

    Args:
        device: where is computed; a CPU has nothing to try out.
        seconds_left: of the phase, as it goes so far.
    """
    if device.type != "cuda":
        return
    tries = CHOSEN_GAIN * seconds_left > CHOOSING_SECONDS
    if tries and not torch.backends.cudnn.benchmark:
        # The next step tries them out by the clock: what others have launched on streams of their own must have ended,
        # and they launch no more before that step is done.
        torch.cuda.synchronize(device)
    torch.backends.cudnn.benchmark = tries


def workspace_bytes(device: torch.device) -> int:
    """Return what libraries keep for a training that is under way beside others, in memory that no tensor shows."""
    if device.type != "cuda":
        return 0
    given = re.findall(r":(\d+):(\d+)", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
    default = LARGER_WORKSPACE if torch.cuda.get_device_capability(device)[0] >= HOPPER else WORKSPACE
    return WORKSPACES * (sum(int(kibibytes) * int(count) * 1024 for kibibytes, count in given) if given else default)


@contextmanager
def kernels_as_they_come() -> Iterator[None]:
    """Try out none for what is computed a few times only."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def seconds_left(epochs: Sequence[float], count: int) -> float:
    """Return the seconds that are left of ``count`` epochs, as many as the fastest of those that are done took.

    After one alone nothing is known: libraries were loaded in it.
    """
    return min(epochs) * (count - len(epochs)) if len(epochs) > 1 else 0.0


def describe(device: torch.device) -> str:
    """Return a line for the birth certificate of a figure, such as ``NVIDIA H200`` or ``x86_64, 2 threads``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_cpu_model()}, {threads} thread{'s' * (threads != 1)}"


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak so far: what tensors took on a GPU, the resident set of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        # Not ru_maxrss: on Linux that of a process begins with the peak of the process that started it. psutil gives
        # the resident set of the moment alone.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()
