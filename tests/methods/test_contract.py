"""What every registered method must keep to; a new one is covered as soon as its file exists."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.search.choose import choose_genotype
from nascommon.search.gradients import Batch
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import new_state
from nascommon.space.genotype import genotype_from_json
from nascommon.space.mixing import one_hot, uniform_candidates
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.search.small import CLASSES, CPU, equal, tiny_data

METHODS = sorted(REGISTRY)
TOPOLOGY = Topology(3)
DATA = tiny_data()


class KilledError(Exception):
    """Stands for a process that died."""


def method_of(name: str) -> Method:
    """Return the method at smoke scale."""
    settings = REGISTRY[name].settings.model_validate({"epochs": 2, "batch_size": 5})
    return REGISTRY[name].recipe(settings, SearchSize(2, 3, TOPOLOGY.nodes))


def spec_of(method: Method) -> SupernetSpec:
    """Return the supernet that the method starts with."""
    phase = method.phases[0]
    candidates = uniform_candidates(method.candidates, TOPOLOGY)
    return SupernetSpec(phase.channels, phase.cells, CLASSES, candidates, TOPOLOGY)


def search(method: Method, seed: int = 0, checkpoint: Checkpoint | None = None, **hooks: Any) -> Outcome:
    """Run the whole search."""
    base = spec_of(method)
    return run_search(method, base, DATA, seed=seed, device=CPU, checkpoint=checkpoint, hooks=Hooks(**hooks))


def left(outcome: Outcome) -> list[Any]:
    """Return what a search leaves, but for its wall time."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in outcome.history.rows]
    return [outcome.state.state_dict(), rows, outcome.history.architecture]


@pytest.mark.parametrize("name", METHODS)
def test_the_seed_decides_everything(name: str) -> None:
    first, again, other = (search(method_of(name), seed) for seed in (0, 0, 1))
    assert equal(left(first), left(again))
    assert not equal(left(first), left(other))


@pytest.mark.parametrize("name", METHODS)
def test_a_search_killed_after_any_epoch_resumes_bit_identical(name: str, tmp_path: Path) -> None:
    method = method_of(name)
    whole = search(method)
    for last in range(method.epochs - 1):
        checkpoint = Checkpoint(tmp_path / f"{last}.ckpt", "mine")

        def die(row: dict[str, Any], last: int = last) -> None:
            if row["epoch"] == last:
                raise KilledError

        with pytest.raises(KilledError):
            search(method, checkpoint=checkpoint, on_epoch=die)
        assert equal(left(search(method, checkpoint=checkpoint)), left(whole))


@pytest.mark.parametrize("name", METHODS)
def test_the_genotype_is_one_that_the_supernet_holds_and_survives_json(name: str) -> None:
    state = search(method_of(name)).state
    genotype, _ = choose_genotype(state, lambda _genotype: 0.0, seed=0)
    assert [len(node) for node in genotype.normal.nodes] == [2] * TOPOLOGY.nodes
    mixing = one_hot(genotype, TOPOLOGY, state.spec.candidates, like=state.logits.normal.alpha_EO)
    assert int(mixing.normal.weights_EO.sum()) == genotype.normal.edges
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


@pytest.mark.parametrize("name", METHODS)
def test_architecture_steps_move_both_alphas_and_no_weight_and_weight_steps_the_reverse(name: str) -> None:
    method = method_of(name)
    state = new_state(method, spec_of(method), seed=0, phase=0, device=CPU)
    state.supernet.train()
    batch = Batch(*next(DATA.weights.epoch(0)))
    weights = [parameter.detach().clone() for parameter in state.supernet.parameters()]
    logits = copy.deepcopy([tensor.detach() for tensor in state.logits.tensors()])
    if method.arch_gradient is not None:
        architecture_step(state, batch, batch)
        assert all(not torch.equal(*pair) for pair in zip(state.logits.tensors(), logits, strict=True))
        assert equal([parameter.detach() for parameter in state.supernet.parameters()], weights)
    moved = [tensor.detach().clone() for tensor in state.logits.tensors()]
    weight_step(state, batch)
    assert not equal([parameter.detach() for parameter in state.supernet.parameters()], weights)
    assert equal([tensor.detach() for tensor in state.logits.tensors()], moved)


@pytest.mark.parametrize("name", METHODS)
def test_every_preset_has_a_section_for_every_method(name: str) -> None:
    root = Path(__file__).parents[2]
    for preset in (root / "params.yaml", *(root / "presets").glob("*.yaml")):
        assert f"\n  {name}:" in preset.read_text(), preset.name
