"""The benchmarks run at tiny size and count right; how fast anything is, no test says."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from benchmarks import images, plain, released, search, steps, timing
from benchmarks.cases import RUNGS, TWIN, Search, Sizes, method_record, search_ways
from benchmarks.plain import twin_forward
from nascommon.data.batch import Batch
from nascommon.search.gradients import arch_gradient
from nascommon.search.state import SearchState

CPU = torch.device("cpu")
TINY = ["--device", "cpu", "--quick", "--repeats", "1", "--batch", "2", "--channels", "4", "--cells", "3",
        "--nodes", "2", "--side", "8", "--retrain-channels", "4", "--retrain-cells", "3",
        "--pictures", "8"]  # fmt: skip
NAMED = {"case", "baseline", "ratio", "spread", "ours_ms", "baseline_ms", "peak_memory_ratio", "device", "commit"}
SIZES = Sizes(4, 3, 4, 3, 8, 8, nodes=2)
CHECKOUTS = {
    "darts": "GAPLESS_DARTS_CHECKOUT",
    "pcdarts": "GAPLESS_PCDARTS_CHECKOUT",
    "pdarts": "GAPLESS_PDARTS_CHECKOUT",
}


def call(main: object, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(main)  # type: ignore[type-var]
    return CliRunner().invoke(app, list(arguments))


def tiny_search(name: str, nodes: int = 2) -> Search:
    method = method_record(name, replace(SIZES, nodes=nodes))
    return Search(method, images.random_halves(2, CPU, SIZES.side), CPU, nodes)


@pytest.mark.slow
def test_the_command_writes_a_row_per_case_with_the_named_keys(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    result = call(steps.main, *TINY, "--methods", "darts", "--cases", "search,retrain,data", "--json", str(path))
    assert result.exit_code == 0, result.output
    rows = json.loads(path.read_text())
    assert [row["case"] for row in rows] == ["search step, darts", "retrain step", "data, epoch of 8"]
    for row in rows:
        assert set(row) >= NAMED
        assert row["ratio"] == pytest.approx(row["baseline_ms"] / row["ours_ms"])
        assert row["spread"] == [row["ratio"], row["ratio"]]
    assert rows[0]["baseline"] == TWIN
    assert rows[0]["peak_memory_ratio"] > 0
    assert rows[2]["peak_memory_ratio"] is None
    assert all(row["case"] in result.output for row in rows)


def test_every_rung_of_the_ladder_takes_a_step() -> None:
    ways = search_ways("darts", tiny_search("darts"), None, list(RUNGS))
    assert list(ways) == [TWIN, *RUNGS]
    for way in ways.values():
        way()()


def test_the_rungs_of_a_ladder_are_rows_of_their_own() -> None:
    case = timing.Case("ladder", 1, {name: lambda: lambda: torch.ones(9) for name in ("base", "one", "two")})
    rows = timing.measure(case, 1, CPU)
    assert [(row.case, row.baseline) for row in rows] == [("ladder: one", "base"), ("ladder: two", "base")]


@pytest.mark.parametrize("option", [["--methods", "darst"], ["--cases", "speed"], ["--against", "."]])
def test_what_is_not_known_is_refused_by_name(option: list[str]) -> None:
    result = call(steps.main, *TINY, *option)
    assert result.exit_code == 2
    assert option[1] in result.output


def test_the_plain_step_and_ours_have_the_same_gradient_in_the_architecture() -> None:
    for name in ("darts", "darts-unrolled", "pcdarts"):
        gradients = []
        for kind in ("plain", "ours"):
            case = tiny_search(name)
            state = case.state()
            state.supernet.double()
            for tensor in state.logits.tensors():
                tensor.data = tensor.data.double()
            gradients.append(architecture_gradient(case, state, kind))
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-10)


def architecture_gradient(case: Search, state: SearchState, kind: str) -> torch.Tensor:
    halves = plain.Halves(*(Batch(batch.images.double(), batch.labels) for batch in (case.data.train, case.data.valid)))
    if kind == "ours":
        return torch.cat([gradient.flatten() for gradient in arch_gradient(state, halves.train, halves.valid)])
    seen: list[torch.Tensor] = []

    def look() -> None:
        seen.extend(tensor.grad.flatten().clone() for tensor in state.logits.tensors() if tensor.grad is not None)

    with patch.object(state.arch_optimiser, "step", look):
        plain.search_step(state, halves, twin_forward())()
    return torch.cat(seen)


def test_ways_take_turns_and_none_always_follows_the_same() -> None:
    order: list[str] = []
    steps_of = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = timing.interleaved(steps_of, 2, CPU)
    assert "".join(order) == "abc" + "abc" + "cba"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_the_replay_finds_the_highest_level() -> None:
    assert timing.highest([4, 8, -4, 2, -8, -2]) == 12
    assert timing.highest([-4, 2]) == 0


def test_the_peak_of_a_known_allocation_is_exact() -> None:
    def step() -> None:
        first = torch.empty(1000)
        second = torch.empty(2000)
        del first
        torch.empty(100)
        del second

    assert timing.peak_bytes(step, CPU) == 4 * 3000


def test_operators_are_counted_forward_and_backward() -> None:
    x = torch.ones(3, requires_grad=True)
    assert timing.operations(lambda: x.detach().exp().sum()) == 3
    forward = timing.operations(lambda: x.exp().sum())
    assert timing.operations(lambda: torch.autograd.grad(x.exp().sum(), x)) > forward


def test_the_loader_yields_the_pictures_of_the_part() -> None:
    part = images.random_part(4, side=8)
    transform = images.papers_transform(cutout=0, side=8)
    transform.transforms = transform.transforms[2:]  # nothing random
    picture, label = images.Pictures(part, transform)[3]
    pixels = part.samples.take(torch.tensor([3])).images[0].float() / 255  # type: ignore[attr-defined]
    mean, std = (torch.tensor(values)[:, None, None] for values in (images.MEAN, images.STD))
    torch.testing.assert_close(picture, (pixels - mean) / std)
    assert label == 3


def test_cutout_zeroes_a_square_clipped_at_the_borders() -> None:
    cut = images.Cutout(4)
    zeros = [int((cut(torch.ones(3, 8, 8))[0] == 0).sum()) for _ in range(50)]
    assert max(zeros) == 16
    assert min(zeros) >= 4


@pytest.mark.slow
def test_a_search_is_timed_in_parts_that_add_up(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    result = call(search.main, "--method", "darts", "--steps", "2", "--batch", "2", "--channels", "2", "--cells", "3",
                  "--device", "cpu", "--json", str(path))  # fmt: skip
    assert result.exit_code == 0, result.output
    tree = json.loads(path.read_text())
    assert {"weight steps", "architecture steps", "data", "validation", "checkpoints"} < set(tree["parts"])
    assert sum(part["share"] for part in tree["parts"].values()) == pytest.approx(1)
    weights = tree["parts"]["weight steps"]
    assert weights["predicted_seconds"] == pytest.approx(weights["seconds"] * 50 * (25_000 // 2) / 2)


@pytest.mark.parametrize("kind", CHECKOUTS)
def test_a_checkout_is_imported_and_steps_and_leaves_nothing_behind(kind: str) -> None:
    checkout = os.environ.get(CHECKOUTS[kind])
    if checkout is None:
        pytest.skip(f"{CHECKOUTS[kind]} names no checkout")
    before = set(sys.modules)
    authors = released.load(Path(checkout))
    assert authors.kind == kind
    assert not (set(sys.modules) - before) & set(released.NAMES)
    case = tiny_search(kind, nodes=4)
    theirs = released.supernet(authors, 4, case.method.phases[0].cells, CPU)
    logits = {id(tensor) for tensor in theirs.arch_parameters()}
    counts = [
        sum(p.numel() for p in network.parameters() if id(p) not in logits)
        for network in (theirs, case.state().supernet)
    ]
    assert counts[0] == counts[1]
    first = search_ways(kind, case, authors)
    assert next(iter(first)) == authors.name
    next(iter(first.values()))()()
