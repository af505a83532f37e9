"""The device is the one that was asked for or a clear error, and a figure knows where it was made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nascommon.runtime import hardware
from nascommon.runtime.hardware import (
    choose_kernels,
    cores,
    describe,
    kernels_as_they_come,
    resolve_device,
    resolve_precision,
    seconds_left,
    tune,
    workspace_bytes,
)
from nascommon.settings import UserError

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Let torch say that there are so many GPUs."""
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(("gpus", "kind"), [(0, "cpu"), (1, "cuda")], indirect=["gpus"])
def test_auto_takes_a_gpu_where_there_is_one(gpus: int, kind: str) -> None:
    assert resolve_device("auto").type == kind


@pytest.mark.parametrize("gpus", [2], indirect=True)
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_is_taken(gpus: int, name: str) -> None:
    assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("gpus", "name"), [(0, "cuda"), (0, "cuda:0"), (1, "cuda:1"), (2, "cuda:7")], indirect=["gpus"]
)
def test_a_gpu_that_is_not_there_is_an_error_that_says_how_many_are(gpus: int, name: str) -> None:
    with pytest.raises(UserError, match=rf"^device: {name} is not there \({gpus} GPUs found\); use auto or cpu$"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "CPU", "cuda:-1", "tpu"])
def test_an_unknown_device_is_an_error_that_says_which_are_known(name: str) -> None:
    with pytest.raises(UserError, match=r"^device: must be auto, cpu, cuda or cuda:N \(got '") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(("threads", "words"), [(1, ", 1 thread"), (2, ", 2 threads")])
def test_the_description_of_a_cpu_is_one_line_with_its_threads(
    threads: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    output = describe(CPU)
    assert output.endswith(words)
    assert "\n" not in output
    assert len(output) > len(words)


GROWS = """
from nascommon.runtime.hardware import peak_memory_bytes
import torch
cpu = torch.device("cpu")
before = peak_memory_bytes(cpu)
held = b"x" * (256 * 2**20)
del held
print(before, peak_memory_bytes(cpu))
"""
IN_A_LARGE_PROCESS = """
import subprocess, sys
held = b"x" * int(sys.argv[1])
print(subprocess.run([sys.executable, "-c", sys.argv[2]], check=True, capture_output=True, text=True).stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process begins with no peak of its own")
def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    parent = 1536 * 2**20
    command = [sys.executable, "-c", IN_A_LARGE_PROCESS, str(parent), GROWS]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert before < after < parent
    assert after - before == pytest.approx(256 * 2**20, rel=0.05)


@pytest.mark.parametrize("name", ["meta", "mps", "tpu", "cuda:x"])
def test_a_device_that_nobody_tested_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"device: must be auto, cpu, cuda or cuda:N .got '{name}'"):
        resolve_device(name)


@pytest.mark.parametrize(("major", "precision"), [(7, "float32"), (8, "bfloat16")])
def test_auto_is_bfloat16_on_a_gpu_that_computes_it_and_does_not_only_emulate_it(
    major: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(major=major))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _device: True)
    assert resolve_precision("auto", torch.device("cuda")) == precision
    assert resolve_precision("auto", CPU) == "float32"
    assert resolve_precision("bfloat16", torch.device("cuda")) == "bfloat16"


@pytest.mark.parametrize(("name", "chosen"), [("cuda", []), ("cuda:1", [torch.device("cuda:1")])])
def test_what_names_no_gpu_means_the_one_that_was_chosen(
    name: str, chosen: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace())
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace())
    tune(torch.device(name))
    assert seen == chosen


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000\n", 8), ("250000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000\n", 8)]
)
def test_cores_are_those_that_the_process_may_use(
    quota: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(hardware, "CPU_QUOTA", tmp_path / "cpu.max")
    assert cores() == 8
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    assert cores() == count


@pytest.fixture
def cudnn(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What PyTorch lets one choose of cuDNN, whether it is there or not."""
    choices = SimpleNamespace(benchmark=False)
    monkeypatch.setattr(torch.backends, "cudnn", choices)
    return choices


@pytest.mark.parametrize(("seconds", "tried"), [(0.0, False), (2200.0, False), (2300.0, True), (float("inf"), True)])
def test_kernels_are_tried_out_where_2_percent_of_what_is_left_are_more_than_45_seconds(
    seconds: float, tried: bool, cudnn: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    cudnn.benchmark = not tried
    choose_kernels(CPU, seconds)
    assert cudnn.benchmark is not tried  # a CPU has none
    choose_kernels(torch.device("cuda"), seconds)
    assert cudnn.benchmark is tried


def test_neighbours_end_what_they_have_launched_before_kernels_are_tried_out(
    cudnn: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[bool] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: waited.append(cudnn.benchmark))
    for seconds in (0.0, 2300.0, 2300.0, 0.0, 2300.0):
        choose_kernels(torch.device("cuda"), seconds)
    assert waited == [False, False], "once for each time that they begin to be tried out, and before"


@pytest.mark.parametrize(
    ("major", "config", "each"),
    [(8, "", 8320 * 1024), (9, "", 32 * 2**20), (12, "", 32 * 2**20), (9, ":4096:2:16:8", 8320 * 1024),
     (8, ":16:8", 128 * 1024), (9, "none", 32 * 2**20)],
)  # fmt: skip
def test_a_training_beside_others_takes_four_workspaces_of_cublas(
    major: int, config: str, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (major, 0))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", config)
    assert workspace_bytes(torch.device("cuda", 0)) == 4 * each
    assert workspace_bytes(CPU) == 0


@pytest.mark.parametrize("before", [False, True])
def test_for_what_is_computed_a_few_times_none_are_tried_out(before: bool, cudnn: SimpleNamespace) -> None:
    cudnn.benchmark = before
    with kernels_as_they_come():
        assert not cudnn.benchmark
    assert cudnn.benchmark is before


@pytest.mark.parametrize(
    ("epochs", "left"), [([], 0.0), ([60.0], 0.0), ([60.0, 4.0], 12.0), ([60.0, 4.0, 5.0, 3.0, 9.0], 0.0)]
)
def test_what_is_left_is_known_from_the_fastest_epoch_of_two(epochs: list[float], left: float) -> None:
    assert seconds_left(epochs, 5) == left
