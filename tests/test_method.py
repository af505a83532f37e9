"""The registry holds every method by one name, with the paper's defaults, and refuses settings that cannot work."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import nascommon.methods
from nascommon.method import REGISTRY, ArchGradient, ArchOptimiser, Method, Phase, SearchSize, WeightOptimiser, register
from nascommon.methods.darts import DartsSettings, darts
from nascommon.methods.random import RandomSettings, random
from nascommon.parts.choices import BestOf, Discretized, Drawn, FirstOrder, MixedOp, Soft, Unrolled
from nascommon.parts.discretizer import strongest_edges
from nascommon.parts.penalty import no_penalty
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.settings import SearchSettings
from nascommon.search.state import new_state
from nascommon.settings import Settings
from nascommon.space.genotype import genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import SPACES, find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.methods.smoke import each_method, smoke_settings
from tests.search.small import CPU, TinyBatches
from tests.space.kinds import space_of, two

SIZE = SearchSize(channels=16, cells=8, space=SPACES["darts"])
METHODS = sorted(REGISTRY)


def test_every_file_in_methods_is_a_method_of_its_name() -> None:
    files = {path.stem for path in Path(nascommon.methods.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(REGISTRY) == files
    for name, entry in REGISTRY.items():
        assert entry.name == name == entry.recipe.__name__
        assert Path(inspect.getfile(entry.recipe)).stem == name
        assert inspect.getmodule(entry.settings) is inspect.getmodule(entry.recipe)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_in_one_line_what_it_is(name: str) -> None:
    assert len(REGISTRY[name].summary) > 20
    assert "\n" not in REGISTRY[name].summary


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_defaults_for_all_and_are_strict_and_frozen(name: str) -> None:
    settings = REGISTRY[name].settings()
    with pytest.raises(ValidationError):
        settings.epochs = 3  # type: ignore[attr-defined]
    for wrong in ({"epoch": 3}, {"epochs": "3"}, {"epochs": 2.0}, {"epochs": -1}, {"batch_size": 0}):
        with pytest.raises(ValidationError):
            REGISTRY[name].settings.model_validate(wrong)
    assert REGISTRY[name].settings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize("name", METHODS)
def test_every_recipe_makes_a_record_whose_first_phase_has_the_size_asked_for(name: str) -> None:
    for size in (SIZE, SearchSize(12, 5, find_space("darts", 3))):
        method = REGISTRY[name].recipe(REGISTRY[name].settings(), size)
        assert isinstance(method, Method)
        assert method.phases[0].channels == size.channels
        own_depth = getattr(REGISTRY[name].settings(), "cells", None)  # P-DARTS says itself how deep its phases are
        assert method.phases[0].cells == (own_depth[0] if own_depth else size.cells)
        with pytest.raises(FrozenInstanceError):
            method.batch_size = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", each_method())
def test_every_method_takes_a_step_in_another_topology_and_yields_a_genotype_of_it(name: str) -> None:
    method = REGISTRY[name].recipe(smoke_settings(name), SearchSize(4, 3, find_space("darts", 3)))
    base = SupernetSpec(4, 3, 4, method.searched(space_of(CANDIDATES, Topology(3))))
    state = new_state(method, base, seed=0, phase=0, device=CPU)
    batch = next(iter(TinyBatches().epoch(0)))
    if method.arch_gradient is not None:
        architecture_step(state, batch, batch)
    weight_step(state, batch)
    genotype = state.genotype()
    assert len(genotype["normal"].nodes) == len(genotype["reduction"].nodes) == 3
    assert genotype_from_json(genotype.to_json()) == genotype


# -- the papers' defaults --


def test_the_defaults_of_darts_are_the_papers() -> None:
    method = darts(DartsSettings(), SIZE)
    assert method.none
    assert method.phases == (Phase(50, 16, 8, warmup=0, keep=None),)
    assert method.batch_size == 64
    assert method.weights == WeightOptimiser(lr=0.025, lr_min=0.001, momentum=0.9, weight_decay=3e-4, clip=5.0)
    optimiser = ArchOptimiser(lr=3e-4, beta1=0.5, beta2=0.999, weight_decay=1e-3, clip=None, alpha_delay=0)
    assert method.arch_gradient == ArchGradient(FirstOrder(), optimiser)
    assert Unrolled().radius == 0.01
    assert method.passes == (Soft(),)
    assert method.relax is softmax_over_operations
    space = space_of(CANDIDATES, Topology())
    for seed in range(20):
        weights = torch.rand(2, 14, 8, generator=torch.Generator().manual_seed(seed))
        mixing = two(Mixing, CellMixing(weights[0]), CellMixing(weights[1]))
        theirs = strongest_edges(mixing, space)
        assert method.discretize(mixing, space) == theirs
    assert method.weights.warmup_epochs == 0
    assert method.initialise(SPACES["darts"].cells.main, torch.Generator()).beta_E is None
    assert (method.mixed_op, method.discretize.read, method.stop) == (
        MixedOp(channel_divisor=1, stem="cifar"),
        None,
        None,
    )
    assert method.penalty is no_penalty
    assert (method.sample, method.select) == (None, Discretized())


def test_every_setting_of_darts_reaches_its_record() -> None:
    settings = DartsSettings(
        epochs=7, batch_size=3, arch_gradient=Unrolled(radius=0.5), warmup=2, kept_edges=5,
        none=False, weights=WeightOptimiser(lr=1.0),
        architecture=ArchOptimiser(lr=2.0),
    )  # fmt: skip
    method = darts(settings, SIZE)
    assert method.phases == (Phase(7, 16, 8, 2),)
    assert method.batch_size == 3
    assert method.arch_gradient == ArchGradient(Unrolled(radius=0.5), ArchOptimiser(lr=2.0))
    assert not method.none
    assert method.weights.lr == 1.0
    topology = Topology()
    space = space_of(("skip_connect", "sep_conv_3x3"), topology)
    mixing = two(Mixing, *(CellMixing(torch.rand(14, 2, generator=torch.Generator().manual_seed(i))) for i in range(2)))
    assert method.discretize(mixing, space)["normal"].edges == 5


@pytest.mark.parametrize("warmup", [7, 8])
def test_a_search_that_only_warms_up_is_refused(warmup: int) -> None:
    with pytest.raises(ValidationError, match=rf"warmup: must be less than epochs \(7\).*got {warmup}"):
        DartsSettings(epochs=7, warmup=warmup)


def test_random_learns_no_architecture_and_draws_one() -> None:
    method = random(RandomSettings(samples=9), SIZE)
    assert method.arch_gradient is None
    assert method.sample is not None
    assert method.select == BestOf(9)
    assert random(RandomSettings(samples=1), SIZE).select == Drawn()
    assert RandomSettings().samples == 1
    assert random(RandomSettings(epochs=0), SIZE).epochs == 0


def test_epochs_are_those_of_all_phases() -> None:
    method = darts(DartsSettings(), SIZE)
    two = Method(**{**vars(method), "phases": (Phase(2, 1, 1), Phase(3, 1, 1))})
    assert two.epochs == 5


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (("conv",), "unknown operation 'conv'"),
        (("skip_connect", "skip_connect"), "listed twice"),
        (("none",), "other than 'none'"),
        ((), "other than 'none'"),
    ],
)
def test_candidates_that_no_edge_can_become_are_refused(candidates: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchSettings(method="darts", candidates=candidates)


@pytest.mark.parametrize(
    ("optimiser", "wrong"),
    [(WeightOptimiser, {"lr": 0.0}), (WeightOptimiser, {"momentum": 1.5}), (WeightOptimiser, {"clip": 0.0}),
     (WeightOptimiser, {"weight_decay": -1.0}), (ArchOptimiser, {"lr": -1.0}), (ArchOptimiser, {"beta1": 2.0}),
     (WeightOptimiser, {"lr": 0.01, "lr_min": 0.1}), (ArchOptimiser, {"beta1": 1.0}),
     (WeightOptimiser, {"warmup_epochs": -1}), (ArchOptimiser, {"clip": 0.0}), (ArchOptimiser, {"alpha_delay": -1})],
)  # fmt: skip
def test_optimisers_that_cannot_work_are_refused(optimiser: type[Settings], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        optimiser.model_validate(wrong)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(AssertionError, match="darts"):
        register(darts)
