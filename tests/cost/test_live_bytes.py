"""Every storage is counted once, from its making to its death, and a peak is the most that lived at a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import Tensor

from nascommon.cost import live_bytes as memory
from nascommon.cost.live_bytes import (
    META,
    LiveBytes,
    available_bytes,
    block_bytes,
    heap_bytes,
    peak_bytes,
    resident_bytes,
)
from nascommon.runtime.allocator import LARGEST_IN_HEAP

KILO = 1024
FLOAT = 4
CPU = torch.device("cpu")
DEVICES = [CPU, META]


def made(device: torch.device) -> Tensor:
    return torch.zeros(KILO // FLOAT, device=device)


def two_at_a_time(device: torch.device) -> None:
    x = made(device)
    y = x + 1
    del x
    z = y + 1
    del y, z


def freed_before(device: torch.device) -> None:
    for _ in range(5):
        made(device)


def views(device: torch.device) -> None:
    x = made(device)
    kept = [x.view(2, -1), x[3:], x.view(2, -1).t(), x.detach(), x.expand(3, -1)]
    del x
    kept[0].numel()


def in_place(device: torch.device) -> None:
    x = made(device)
    x.add_(1).mul_(2)
    x[3] = 1
    torch.add(x, 1, out=x)


def kept_for_backward(device: torch.device) -> None:
    x = made(device).requires_grad_()
    y = x.sin().cos()  # sin(x) lives on inside of the graph
    del x
    y.numel()


def cut_from_the_graph(device: torch.device) -> None:
    with torch.no_grad():
        y = made(device).sin()
        z = y.cos()
        del y, z


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(
    ("program", "tensors"),
    [(two_at_a_time, 2), (freed_before, 1), (views, 1), (in_place, 1), (kept_for_backward, 3), (cut_from_the_graph, 2)],
)
def test_the_peak_of_a_program_is_the_most_that_lives_at_a_moment(
    program: Callable[[torch.device], None], tensors: int, device: torch.device
) -> None:
    # Some versions of PyTorch make tensors of Python's numbers.
    assert peak_bytes(lambda: program(device)) == pytest.approx(tensors * KILO, abs=8)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_is_kept_for_the_backward_pass_lives_until_it_is_done(device: torch.device) -> None:
    with LiveBytes() as live:
        x = made(device).requires_grad_()
        loss = x.sin().cos().sum()
        assert live.now == 2 * KILO + FLOAT  # x and sin(x), which the graph keeps, and the sum; cos(x) is gone
    with LiveBytes() as live:
        loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert live.now == KILO  # the gradient stays
    del loss


def test_a_tensor_costs_what_the_given_size_says() -> None:
    assert peak_bytes(lambda: made(META), lambda size: 10 * size) == 10 * KILO


def test_large_tensors_leave_no_holes_in_the_heap() -> None:
    assert heap_bytes(1000) == 1300
    assert heap_bytes(LARGEST_IN_HEAP + 1) == LARGEST_IN_HEAP + 1


def test_a_gpu_hands_out_whole_blocks() -> None:
    assert [block_bytes(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]


def test_a_number_read_from_a_tensor_without_data_is_one() -> None:
    read: list[float] = []
    peak_bytes(lambda: read.append(float(made(META).sum())))
    assert read == [1]


def test_a_program_that_fails_leaves_no_counting_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        peak_bytes(lambda: 1 // 0)
    assert peak_bytes(lambda: None) == 0
    assert torch.zeros(3).sum() == 0


def test_the_resident_memory_is_that_of_the_moment() -> None:
    before = resident_bytes()
    block = torch.ones(2**26)
    assert resident_bytes() - before == pytest.approx(2**28, rel=0.1)
    del block
    assert resident_bytes() - before < 2**26


def test_free_memory_is_that_of_the_machine_within_the_limit_of_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5 * 1024))
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert available_bytes(CPU) == 5 * 1024
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_bytes(CPU) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(CPU) == 5 * 1024
