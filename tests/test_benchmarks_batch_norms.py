"""The benchmark of batch norms compares like with like; what only a GPU can do is put aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import batch_norms
from benchmarks.batch_norms import Case, Tensors

CPU = torch.device("cpu")
SMALL = [Case("darts", 2, 4, 8), Case("retrain", 2, 6, 8)]


def test_cases_are_those_of_real_steps() -> None:
    names = [str(case) for case in batch_norms.cases()]
    assert len(set(names)) == len(names)
    assert names[0] == "darts 64x288x32x32 batch norm"


@pytest.fixture
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch's operators take the place of the kernels, and every call take a microsecond."""

    def forward(x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
        out, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        return out, torch.stack([mean, inverse**-2, inverse])

    def gradients(slope: Tensor, x: Tensor, scale: Tensor | None, moments: Tensor) -> tuple[Tensor, ...]:
        given = slope, x, scale, None, None, moments[0], moments[2], True, batch_norms.EPS, [True] * 3
        found: tuple[Tensor, ...] = torch.ops.aten.native_batch_norm_backward(*given)
        return found

    def timed(work: Callable[[], object]) -> float:
        work()
        return 1.0

    monkeypatch.setattr(batch_norms, "forward", forward)
    monkeypatch.setattr(batch_norms, "gradients", gradients)
    monkeypatch.setattr(batch_norms, "microseconds", timed)
    monkeypatch.setattr(batch_norms, "cases", lambda: SMALL)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "none")


@pytest.mark.usefixtures("on_a_cpu")
def test_pytorch_is_given_the_same_work(tmp_path: Path) -> None:
    assert batch_norms.run(60, tmp_path / "out.json", CPU)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["way"] for row in rows] == ["ours", "torch"] * len(SMALL)
    assert all(0 < row["gradient_floor"] < 1 for row in rows[::2])


@pytest.mark.usefixtures("on_a_cpu")
@pytest.mark.parametrize("name", ["forward", "gradients"])
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_wrong_result_is_told(name: str, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(batch_norms, name)

    def shifted(*given: object) -> list[Tensor]:
        return [each + 0.1 * (place == wrong) for place, each in enumerate(right(*given))]

    monkeypatch.setattr(batch_norms, name, shifted)
    assert not batch_norms.run(60, None, CPU)


def test_what_is_read_is_counted() -> None:
    numbers = 2 * 4 * 8 * 8
    assert Tensors(SMALL[0], CPU).bytes() == {"forward": 3 * 2 * numbers, "gradient": 5 * 2 * numbers}
