"""No choice of a record is ignored by the loop: another value gives another search."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import Any, NamedTuple

import pytest

from nascommon.method import ArchGradient, ArchOptimiser, Method, Phase, WeightOptimiser
from nascommon.parts.choices import (
    BestOf,
    Discretize,
    Drawn,
    Induced,
    MixedOp,
    Sample,
    Soft,
    Unrolled,
    UnrolledExact,
)
from nascommon.parts.control import Progress, constant
from nascommon.parts.discretizer import Keep, strongest
from nascommon.parts.logits import CellLogits, normal_alpha
from nascommon.parts.penalty import beta_decay_penalty
from nascommon.parts.relaxation import sigmoid
from nascommon.parts.sampling import dirichlet
from nascommon.search.choose import choose_genotype
from nascommon.search.loop import run_search
from nascommon.search.passes import SearchData
from nascommon.settings import Settings
from nascommon.space.mixing import CellMixing
from nascommon.space.space import CellSpace
from nascommon.space.topology import Topology
from tests.search.small import CPU, SOME, TinyBatches, equal, tiny_method, tiny_spec
from tests.space.kinds import space_of

WEIGHTS = WeightOptimiser(lr=0.1, clip=5.0)
LEARNED = ArchGradient(optimiser=ArchOptimiser(lr=0.1))
PHASE = Phase(2, 2, 3)
BASE = tiny_method(phases=(PHASE,), initialise=normal_alpha(1.0), weights=WEIGHTS, arch_gradient=LEARNED)
IMAGENET = 32
"""Side of images that the ImageNet stem and two reduction cells can halve."""


class Case(NamedTuple):
    """A field of the record, what it is changed to, and other choices that make that matter."""

    field: str
    to: Any
    beside: dict[str, Any] = {}  # noqa: RUF012 -- no default is ever changed
    side: int = 8


def negated(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
    return CellMixing(-logits.alpha_EO)


METHOD = {
    "none": Case("none", False),
    "initialise": Case("initialise", normal_alpha(0.5)),
    "relax": Case("relax", sigmoid),
    "sample": Case("sample", Sample(dirichlet)),
    "where it draws": Case("sample", Sample(dirichlet, frozenset({"weights"})), {"sample": Sample(dirichlet)}),
    "penalty": Case("penalty", beta_decay_penalty(constant)),
    "channel_divisor": Case("mixed_op", MixedOp(channel_divisor=2)),
    "stem": Case("mixed_op", MixedOp(stem="imagenet"), side=IMAGENET),
    "no gradient": Case("arch_gradient", None),
    "unrolled": Case("arch_gradient", replace(LEARNED, approximation=Unrolled())),
    "unrolled_exact": Case("arch_gradient", replace(LEARNED, approximation=UnrolledExact())),
    "radius": Case(
        "arch_gradient",
        replace(LEARNED, approximation=Unrolled(radius=1.0)),
        {"arch_gradient": replace(LEARNED, approximation=Unrolled())},
    ),
    "passes": Case("passes", (Soft(), Induced())),
    "arch_steps": Case("passes", (Soft(), Induced(arch_steps=False)), {"passes": (Soft(), Induced())}),
    "stop": Case("stop", lambda _genotype: True),
    "read": Case("discretize", Discretize(read=negated)),
    "pick": Case("discretize", Discretize(strongest(replace(Keep(), per_node=(1,))))),
    "select": Case("select", Drawn()),
    "count": Case("select", BestOf(2), {"select": Drawn()}),
}
PHASES: dict[str, Any] = {"epochs": 3, "channels": 4, "cells": 4, "warmup": 1, "keep": 3, "skip_dropout": 0.5}
OPTIMISERS: dict[tuple[str, str], Any] = {
    ("weights", "lr"): 0.2,
    ("weights", "lr_min"): 0.05,
    ("weights", "momentum"): 0.5,
    ("weights", "weight_decay"): 0.1,
    ("weights", "clip"): 0.1,
    ("weights", "warmup_epochs"): 2,
    ("architecture", "lr"): 0.2,
    ("architecture", "beta1"): 0.2,
    ("architecture", "beta2"): 0.5,
    ("architecture", "weight_decay"): 0.1,
    ("architecture", "clip"): 1e-3,
    ("architecture", "alpha_delay"): 1,
}
ELSEWHERE = {"batch_size"}
"""Fields that the stage reads, not the loop: tests/gaps/test_settings.py."""


@cache
def left(method: Method, side: int = 8) -> list[Any]:
    """Return all that a search leaves but its wall time, its genotype and what that was chosen from."""
    data = SearchData(*(TinyBatches(seed=seed, side=side, shuffled=seed < 3) for seed in (1, 2, 3)))
    base = replace(tiny_spec(1), space=method.searched(space_of(SOME, Topology(1))))
    state, history = vars(run_search(method, base, data, seed=0, device=CPU)).values()
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history.rows]
    return [state.state_dict(), rows, history.architecture, *choose_genotype(state, lambda _genotype: 0.0, seed=0)]


def test_every_field_is_changed_here() -> None:
    changed = {case.field for case in METHOD.values()}
    assert {field.name for field in fields(Method)} == changed | {"phases", "weights"} | ELSEWHERE
    assert {field.name for field in fields(Phase)} == set(PHASES)
    optimisers: dict[str, type[Settings]] = {"weights": WeightOptimiser, "architecture": ArchOptimiser}
    assert set(OPTIMISERS) == {(name, key) for name, kind in optimisers.items() for key in kind.model_fields}


@pytest.mark.parametrize("name", METHOD)
def test_another_choice_gives_another_search(name: str) -> None:
    case = METHOD[name]
    before = replace(BASE, **case.beside)
    assert not equal(left(replace(before, **{case.field: case.to}), case.side), left(before, case.side))


@pytest.mark.slow
@pytest.mark.parametrize("name", PHASES)
def test_another_phase_gives_another_search(name: str) -> None:
    two = replace(BASE, phases=(PHASE, PHASE))
    other = replace(PHASE, **{name: PHASES[name]})
    assert not equal(left(replace(two, phases=(other, PHASE))), left(two))


@pytest.mark.parametrize(("optimiser", "name"), OPTIMISERS)
def test_another_optimiser_gives_another_search(optimiser: str, name: str) -> None:
    to = {name: OPTIMISERS[optimiser, name]}
    other = (
        replace(BASE, weights=WEIGHTS.model_copy(update=to))
        if optimiser == "weights"
        else replace(BASE, arch_gradient=replace(LEARNED, optimiser=LEARNED.optimiser.model_copy(update=to)))
    )
    assert not equal(left(other), left(BASE))
