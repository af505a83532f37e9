"""What every registered method must keep to; a new one is covered as soon as its file exists."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.method import REGISTRY, Method
from nascommon.parts.penalty import no_penalty
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.search.choose import choose_genotype
from nascommon.search.gradients import arch_gradient
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state
from nascommon.space.genotype import DARTS_KINDS, Genotype, genotype_from_json
from nascommon.space.mixing import one_hot
from tests.methods.smoke import METHODS, TOPOLOGY, each_method, smoke_method, smoke_spec
from tests.search.small import CPU, equal, tiny_data

LEARNING = [name for name in METHODS if smoke_method(name).arch_gradient is not None]
SPARSE = {"fairdarts"}
"""Methods whose threshold may leave a node with fewer than two edges, or none."""
DATA = tiny_data()
BATCHES = len(DATA.weights)


class KilledError(Exception):
    """Stands for a process that died."""


def search(method: Method, seed: int = 0, checkpoint: Checkpoint | None = None, **hooks: Any) -> Outcome:
    """Run the whole search."""
    torch.manual_seed(torch.seed())  # a new process has other global generators
    base = smoke_spec(method)
    return run_search(method, base, DATA, seed=seed, device=CPU, checkpoint=checkpoint, hooks=Hooks(**hooks))


@cache
def whole(name: str) -> Outcome:
    """Return a search that nothing interrupted; not to be changed."""
    return search(smoke_method(name))


def left(outcome: Outcome) -> list[Any]:
    """Return what a search leaves, but for its wall time."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in outcome.history.rows]
    return [outcome.state.state_dict(), rows, outcome.history.architecture, outcome.history.candidates]


def fresh_state(method: Method) -> SearchState:
    """Return the state that the search starts with, in training mode."""
    state = new_state(method, smoke_spec(method), seed=0, phase=0, device=CPU)
    state.supernet.train()
    return state


def chosen(state: SearchState) -> Genotype:
    """Return the method's result."""
    return choose_genotype(state, lambda _genotype: 0.0, seed=0)[0]


def copies(tensors: Any) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@pytest.mark.parametrize("name", each_method())
def test_the_smoke_search_runs_all_its_epochs_and_architecture_steps(name: str) -> None:
    method, outcome = smoke_method(name), whole(name)
    assert [row["epoch"] for row in outcome.history.rows] == list(range(method.epochs))
    assert method.epochs > 1  # or nothing could be resumed
    optimiser = outcome.state.arch_optimiser
    assert bool(optimiser and optimiser.state) == (name in LEARNING)
    assert outcome.state.weight_optimiser.state


@pytest.mark.parametrize("name", each_method())
def test_the_seed_decides_everything(name: str) -> None:
    assert equal(left(search(smoke_method(name))), left(whole(name)))
    assert not equal(left(search(smoke_method(name), seed=1)), left(whole(name)))


@pytest.mark.parametrize("name", each_method())
def test_a_search_killed_after_any_epoch_resumes_bit_identical(name: str, tmp_path: Path) -> None:
    method = smoke_method(name)
    for last in range(method.epochs):
        checkpoint, done = Checkpoint(tmp_path / f"{last}.ckpt", "mine"), list[int]()

        def die(row: dict[str, Any], last: int = last) -> None:
            if row["epoch"] == last:
                raise KilledError

        with pytest.raises(KilledError):
            search(method, checkpoint=checkpoint, on_epoch=die)
        assert equal(left(search(method, checkpoint=checkpoint, on_resume=done.append)), left(whole(name)))
        assert done == [last + 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", each_method())
def test_a_search_killed_in_the_middle_of_any_later_pass_resumes_bit_identical(name: str, tmp_path: Path) -> None:
    method = smoke_method(name)
    assert BATCHES > 1  # so the first batch is the middle of a pass
    passes = method.epochs * len(method.passes)
    for number in range(1, passes):
        checkpoint, done, batches = Checkpoint(tmp_path / f"{number}.ckpt", "mine"), list[int](), list[int]()

        def die(batch: int, _total: int, fatal: int = number * BATCHES + 1, batches: list[int] = batches) -> None:
            batches.append(batch)
            if len(batches) == fatal:
                raise KilledError

        with pytest.raises(KilledError):
            search(method, checkpoint=checkpoint, on_batch=die)
        assert batches[-1] == 1
        assert equal(left(search(method, checkpoint=checkpoint, on_resume=done.append)), left(whole(name)))
        epochs = number // len(method.passes)
        assert done == ([epochs] if epochs else [])


@pytest.mark.parametrize("name", each_method())
def test_the_genotype_is_one_that_the_supernet_holds_and_survives_json(name: str) -> None:
    state = whole(name).state
    genotype = chosen(state)
    mixing = one_hot(genotype, state.spec.space, like=state.logits["normal"].alpha_EO)
    for kind in DARTS_KINDS:
        cell = genotype[kind]
        kept = [len(node) for node in cell.nodes]
        assert len(kept) == TOPOLOGY.nodes
        assert int(mixing[kind].weights_EO.sum()) == cell.edges
        if name in SPARSE:
            assert max(kept) <= 2
            assert cell.edges > 0
            assert cell.concat == tuple(node for node, count in enumerate(kept, start=2) if count)
        else:
            assert kept == [2] * TOPOLOGY.nodes
            assert cell.concat == tuple(TOPOLOGY.node_states)
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype
    for row in whole(name).history.rows:
        assert genotype_from_json(json.loads(row["genotype"]))["normal"].nodes


@pytest.mark.parametrize("name", each_method(LEARNING))
def test_the_validation_loss_reaches_every_logit_tensor_of_both_kinds_of_cells(name: str) -> None:
    method = replace(smoke_method(name), penalty=no_penalty)
    state, batch = fresh_state(method), next(DATA.architecture.epoch(0))
    named = state.logits.named()
    assert {tensor_name.split(".")[0] for tensor_name in named} == set(DARTS_KINDS)
    for (tensor_name, tensor), slope in zip(named.items(), arch_gradient(state, batch, batch), strict=True):
        assert slope.shape == tensor.shape
        assert slope.isfinite().all(), tensor_name
        assert slope.any(), tensor_name
        if method.sample is None and tensor_name.endswith("alpha_EO"):  # a draw may leave edges out
            assert slope.any(dim=1).all(), tensor_name


@pytest.mark.parametrize("name", each_method())
def test_architecture_steps_move_both_alphas_and_no_weight_and_weight_steps_the_reverse(name: str) -> None:
    state = fresh_state(smoke_method(name))
    batch = next(DATA.weights.epoch(0))
    weights, logits = copies(state.supernet.parameters()), copies(state.logits.tensors())
    if name in LEARNING:
        architecture_step(state, batch, batch)
        assert all(not torch.equal(*pair) for pair in zip(state.logits.tensors(), logits, strict=True))
        assert equal(copies(state.supernet.parameters()), weights)
        assert not state.weight_optimiser.state
    moved = copies(state.logits.tensors())
    weight_step(state, batch)
    assert not equal(copies(state.supernet.parameters()), weights)
    assert equal(copies(state.logits.tensors()), moved)
    assert all(tensor.grad is None for tensor in state.logits.tensors())


@pytest.mark.parametrize("name", each_method())
def test_no_score_depends_on_chance(name: str) -> None:
    state = whole(name).state
    before = torch.get_rng_state()
    first, second = (state.scored() for _ in range(2))
    assert equal([vars(first[kind]) for kind in DARTS_KINDS], [vars(second[kind]) for kind in DARTS_KINDS])
    assert torch.equal(torch.get_rng_state(), before)


# -- what only some methods promise --


@pytest.mark.parametrize("most", [0, 1, 2, None])
def test_pdarts_never_keeps_more_skips_than_allowed_in_the_normal_cell(most: int | None) -> None:
    state = fresh_state(smoke_method("pdarts", most_skips=most))
    for seed in range(20):
        draws = torch.Generator().manual_seed(seed)
        for kind in DARTS_KINDS:
            names = state.spec.space.candidates[kind][0]
            with torch.no_grad():
                alpha_EO = state.logits[kind].alpha_EO
                alpha_EO.copy_(torch.randn(alpha_EO.shape, generator=draws))
                alpha_EO[:, names.index("skip_connect")] += 5
        genotype = chosen(state)
        assert genotype["normal"].skips == (2 * TOPOLOGY.nodes if most is None else most)
        assert genotype["reduction"].skips == 2 * TOPOLOGY.nodes
        assert genotype["normal"].edges == 2 * TOPOLOGY.nodes


def test_pdarts_deepens_and_narrows_its_supernet_from_phase_to_phase() -> None:
    outcome = whole("pdarts")
    assert [row["phase"] for row in outcome.history.rows] == [0, 1, 2]
    counts = [{len(names) for names in candidates["normal"]} for candidates in outcome.history.candidates]
    assert counts == [{4}, {3}, {2}]
    assert outcome.state.spec.cells == 5


@pytest.mark.parametrize("after", [1, 2])
def test_dartsplus_stops_where_skips_take_over_and_stays_stopped_when_resumed(after: int, tmp_path: Path) -> None:
    method = smoke_method("dartsplus", epochs=3)
    seen = list[Genotype]()

    def stop(genotype: Genotype) -> bool:
        seen.append(genotype)
        return len(seen) == after

    assert method.stop is not None
    skips = chosen(fresh_state(method))["normal"].skips
    for at in range(1, 5):
        rule = smoke_method("dartsplus", stop_at_skips=at).stop
        assert rule is not None
        assert rule(chosen(fresh_state(method))) == (skips >= at)
    checkpoint = Checkpoint(tmp_path / "search.ckpt", "mine")
    stopped = search(replace(method, stop=stop), checkpoint=checkpoint)
    assert len(stopped.history.rows) == after
    assert seen[-1] == stopped.state.genotype()
    assert equal(left(search(method, checkpoint=checkpoint)), left(stopped))


def test_ecdarts_returns_the_best_induced_model() -> None:
    outcome = whole("ecdarts")
    induced = outcome.state.induced
    assert induced is not None
    accuracies = [row["induced_valid_accuracy"] for row in outcome.history.rows]
    assert induced.accuracy == max(accuracies)
    assert induced.epoch == accuracies.index(max(accuracies))
    assert chosen(outcome.state) == induced.genotype
    assert [row["induced_taken"] for row in outcome.history.rows] == [
        float(accuracy > max(accuracies[:epoch], default=-1)) for epoch, accuracy in enumerate(accuracies)
    ]


def test_ecdarts_killed_between_two_induced_models_still_keeps_the_better_first(tmp_path: Path) -> None:
    method, epochs = smoke_method("ecdarts"), list[int]()

    def die(row: dict[str, Any]) -> None:
        epochs.append(row["epoch"])
        raise KilledError

    searches = ((seed, search(method, seed)) for seed in range(20))
    seed, outcome = next((s, o) for s, o in searches if o.history.rows[-1]["induced_taken"] == 0)
    checkpoint = Checkpoint(tmp_path / "search.ckpt", "mine")
    with pytest.raises(KilledError):
        search(method, seed, checkpoint, on_epoch=die)
    resumed = search(method, seed, checkpoint)
    assert epochs == [0]
    assert resumed.state.induced is not None
    assert resumed.state.induced.epoch == 0
    assert equal(left(resumed), left(outcome))


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_custom_method_of_many_parts_resumes_bit_identical(after: int, tmp_path: Path) -> None:
    method = smoke_method(
        "custom",
        relax={"operations": "cross_edge", "edges": "softmax"},
        mixed_op={"channel_divisor": 2},
        passes=("soft", "induced"),
        phases=({"epochs": 1, "keep": 3, "skip_dropout": 0.3}, {"epochs": 2, "warmup": 1, "cells": 4}),
    )
    checkpoint, calls = Checkpoint(tmp_path / "search.ckpt", "mine"), list[int]()

    def die(*_arguments: object) -> None:
        calls.append(1)
        if len(calls) == after * 2 * BATCHES - 1:  # in the middle of the induced pass
            raise KilledError

    with pytest.raises(KilledError):
        search(method, checkpoint=checkpoint, on_batch=die)
    resumed, uninterrupted = search(method, checkpoint=checkpoint), search(method)
    assert equal(left(resumed), left(uninterrupted))
    assert [len(candidates["normal"][0]) for candidates in resumed.history.candidates] == [4, 3]


def test_the_registry_is_covered() -> None:
    assert set(METHODS) == set(REGISTRY)
