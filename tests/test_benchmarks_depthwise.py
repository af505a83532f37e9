"""The benchmark of depthwise kernels compares like with like; what only a GPU can do is put aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import depthwise
from benchmarks.depthwise import CUTS, PASSES, Case, Table, Tensors
from nascommon.kernels import bank_launch
from nascommon.kernels.bank import Bank, Kind

CPU = torch.device("cpu")
SMALL = [
    Case("darts", Bank((Kind(3, 1, 2), Kind(5, 2, 2))), 2, 4, 8),
    Case("darts", Bank((Kind(3, 1), Kind(5, 1)), shared=False), 2, 4, 8),
]


def test_cases_are_those_of_real_steps() -> None:
    names = [str(case) for case in depthwise.cases()]
    assert len(set(names)) == len(names)
    assert names[0] == "darts 64x16x32x32 s1 3x3/1x4 5x5/1x4"
    assert {name.split()[0] for name in names} == {"darts", "retrain", "pcdarts"}


@pytest.mark.parametrize("case", SMALL)
def test_cudnn_is_given_the_same_convolutions(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = Tensors(case, CPU, torch.float32)
    outs = tensors.theirs()["forward"]()
    assert isinstance(outs, list)
    assert sum(out.shape[1] for out in outs) == tensors.slope.shape[1]
    with torch.no_grad():
        assert torch.allclose(tensors.bank.plain(tensors.x, torch.ones_like(tensors.kernels)), torch.cat(outs, 1))
    made: list[tuple[int, ...]] = []
    real = torch.ops.aten.convolution_backward

    def noted(*args: object) -> object:
        made.append(tuple(args[-1]))  # type: ignore[arg-type]
        return real(*args)

    monkeypatch.setattr(torch.ops.aten, "convolution_backward", noted)
    for name in ("input", "kernels"):
        tensors.theirs()[name]()
    assert made == [(True, False, False)] * 2 + [(False, True, False)] * 2


def test_everything_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(work: Callable[[], object]) -> float:
        work()
        return 1.0

    seen = []
    monkeypatch.setattr(depthwise, "microseconds", timed)
    monkeypatch.setattr(depthwise, "cases", lambda: SMALL)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "none")
    monkeypatch.setattr(
        Tensors,
        "ours",
        lambda _: {name: lambda: seen.append(bank_launch.CUT) for name in PASSES},
    )
    assert depthwise.run(60, tmp_path / "out.json", CPU)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["way"] for row in rows} == {"ours", "cudnn", *CUTS}
    assert set(CUTS.values()) < set(seen)
    assert all(row["forward_error"] < 1e-2 for row in rows if row["way"] == "ours")


def test_a_wrong_result_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "microseconds", lambda _: 1.0)
    monkeypatch.setattr(Tensors, "errors", lambda _: {"forward": float("nan"), "input": 0.0, "kernels": 0.0})
    assert not depthwise.measure(Table(None, 60, CPU), SMALL[0])
