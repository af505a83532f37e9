"""Steps give a GPU no more operators than they are allowed; nobody needs a GPU to see it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import counts
from benchmarks.cases import Sizes
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.home import meta_stands_for

SMALL = Sizes(channels=4, cells=3, retrain_channels=4, retrain_cells=5, side=32, pictures=0, nodes=2)
BUDGETS = {"darts": (2_070, 2_445), "pcdarts": (2_185, 2_565), "retrain": (1_140, 1_460)}
"""Operators and kernels of a step at the papers' sizes."""
SMALL_BUDGETS = {"darts": (630, 735), "pcdarts": (720, 830), "retrain": (330, 405)}


@pytest.mark.parametrize("name", SMALL_BUDGETS)
def test_a_small_step_stays_within_its_budget(name: str) -> None:
    step = counts.counts(name, SMALL)
    for found, budget in zip((step.kinds.total(), step.kernels), SMALL_BUDGETS[name], strict=True):
        assert 0.9 * budget < found <= budget
    assert step.seconds >= 0.999 * step.kernels * counts.KERNEL_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", BUDGETS)
def test_a_step_of_the_papers_stays_within_its_budget(name: str) -> None:
    step = counts.counts(name)
    operators, kernels = BUDGETS[name]
    assert step.kinds.total() <= operators
    assert step.kernels <= kernels


def test_products_of_depthwise_convolutions_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(counts, "BYTES_PER_SECOND", float("inf"))
    monkeypatch.setattr(counts, "KERNEL_SECONDS", 0)
    seconds = []
    with meta_stands_for("cuda"):
        for batches, stride in itertools.product((1, 2), (1, 2)):
            shapes = (2, 3, 8, 6), (27 * batches,)
            x, kernels = (torch.empty(shape, device="meta", requires_grad=True) for shape in shapes)
            with counts.Counted() as forward:
                out = beside([(Bank((Kind(3, 1),), stride), x, kernels)])
            with counts.Counted() as backward:
                torch.autograd.grad(out, (x, kernels), torch.empty_like(out))
            seconds += [forward.seconds, backward.seconds]
    products = torch.tensor(seconds) * counts.PRODUCTS_PER_SECOND
    pixels, quarter = 2 * 8 * 6, 2 * 4 * 3
    expected = [27 * each for each in (pixels, 2 * pixels, quarter, pixels + quarter)]
    assert products.tolist() == pytest.approx(2 * expected)  # a batch's kernels meet its own pixels alone


def test_weights_are_moved_as_on_a_gpu() -> None:
    kinds = counts.counts("darts", SMALL).kinds
    assert kinds["_fused_sgd_"] == 1
    assert "_foreach_add" not in kinds


def test_what_launches_nothing_is_not_counted() -> None:
    with counts.Counted() as counted:
        made = torch.empty(4, device="meta")
        (made.view(2, 2).t() + made.new_empty(2, 2)).mul_(2)
    assert counted.kinds == {"add": 1, "mul_": 1}


def test_an_operator_takes_its_kernels_or_its_bytes_whichever_is_longer() -> None:
    few, many = (torch.empty(count, device="meta") for count in (4, 43 * 10**6))
    with counts.Counted() as counted:
        few * 2
    assert counted.seconds == pytest.approx(5e-6)
    with counts.Counted() as counted:
        many * 2
    assert counted.seconds == pytest.approx(2 * 4 * 43e6 / 4.3e12)


def test_the_command_writes_all_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(name: str) -> counts.Counted:
        made = counts.Counted()
        made.kinds, made.kernels, made.seconds = Counter({"add": len(name), "mul": 1}), 9, 0.5
        return made

    monkeypatch.setattr(counts, "counts", counted)
    app = typer.Typer()
    app.command()(counts.main)
    done = CliRunner().invoke(app, ["--methods", "darts,retrain", "--out", str(tmp_path / "counts.json")])
    assert "darts: 6 operators, 9 kernels, 500.0 ms predicted; add 5, mul 1" in done.output
    assert json.loads((tmp_path / "counts.json").read_text()) == {
        "darts": {"operators": {"add": 5, "mul": 1}, "kernels": 9, "predicted_ms": 500},
        "retrain": {"operators": {"add": 7, "mul": 1}, "kernels": 9, "predicted_ms": 500},
    }
