"""The benchmark of pools compares like with like; what only a GPU can do is put aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import pools
from benchmarks.pools import Case, Tensors
from nascommon.kernels.pools import Pools

CPU = torch.device("cpu")
SMALL = [Case("darts", 2, 4, 8, 1), Case("darts", 2, 4, 8, 2)]


def test_cases_are_those_of_real_steps() -> None:
    names = [str(case) for case in pools.cases()]
    assert len(set(names)) == len(names)
    assert names[0] == "darts 64x16x32x32 s1 pools"


@pytest.fixture
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plain operators take the place of the kernels, and every call take a microsecond."""

    def forward(chosen: Pools, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        out.copy_(chosen.plain(x))
        return x  # instead of the places of maxima

    def gradient(chosen: Pools, slope: torch.Tensor, kept: torch.Tensor, out: torch.Tensor, adds: bool) -> None:
        assert adds
        x = kept.clone().requires_grad_()
        out.add_(torch.autograd.grad(chosen.plain(x), x, slope)[0])

    def timed(work: Callable[[], object]) -> float:
        work()
        return 1.0

    monkeypatch.setattr(pools, "forward", forward)
    monkeypatch.setattr(pools, "gradient", gradient)
    monkeypatch.setattr(pools, "microseconds", timed)
    monkeypatch.setattr(pools, "cases", lambda: SMALL)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "none")


@pytest.mark.usefixtures("on_a_cpu")
def test_pytorch_is_given_the_same_work(tmp_path: Path) -> None:
    assert pools.run(60, tmp_path / "out.json", CPU)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["way"] for row in rows] == ["ours", "torch"] * len(SMALL)
    assert all(0 < row["input_floor"] < 1 for row in rows[::2])


@pytest.mark.usefixtures("on_a_cpu")
def test_a_wrong_result_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "gradient", lambda *_, **__: None)
    assert not pools.run(60, None, CPU)
    monkeypatch.undo()


def test_what_is_read_is_counted_once() -> None:
    tensors = Tensors(Case("darts", 2, 4, 8, 1), CPU)
    numbers = 2 * 4 * 8 * 8
    assert tensors.bytes() == {"forward": numbers * (2 + 4 + 1), "input": numbers * (4 + 4 + 1)}
