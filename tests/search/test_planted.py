"""Every method finds an operation that is known to be the only right one, and what does not search misses it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.relaxation import cross_edge_softmax
from nascommon.search.choose import choose_genotype
from nascommon.search.gradients import arch_gradient
from nascommon.search.loop import Outcome, run_search
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.supernet import SupernetSpec
from tests.search.planted import (
    ARCHITECTURE_LR,
    BATCH_SIZE,
    EPOCHS,
    NORMAL,
    PLANTED,
    REDUCTION,
    WEIGHTS_LR,
    finds,
    planted_data,
    planted_spec,
)
from tests.search.small import CPU

SEEDS = (0, 1, 2)
CLEARLY = 1.25
"""Times the weight of the best that it competes with that the planted operation must have."""
LEARNED, BLIND = 0.9, 0.65
"""Held-out accuracy, with two classes, of what sees both dots of a pair and of what never does."""


@dataclass(frozen=True)
class Case:
    """Run of a method on the planted task, as far as it does not run as DARTS does there."""

    method: str
    changes: dict[str, Any] = field(default_factory=dict)
    channels: int = 8
    normal: tuple[str, ...] = NORMAL
    reduction: tuple[str, ...] = REDUCTION

    def spec(self) -> SupernetSpec:
        """Return the supernet with these candidates."""
        return planted_spec(self.channels, normal=self.normal, reduction=self.reduction)

    def record(self) -> Method:
        """Return the method with these settings; what a method has no setting for is left out."""
        entry = REGISTRY[self.method]
        defaults = entry.settings().model_dump()
        mine: dict[str, Any] = {
            "batch_size": BATCH_SIZE,
            "epochs": EPOCHS,
            "warmup": 0,
            "weights": {**defaults["weights"], "lr": WEIGHTS_LR},
        }
        if "architecture" in defaults:
            mine["architecture"] = {**defaults["architecture"], "lr": ARCHITECTURE_LR, "alpha_delay": 0}
        mine = {key: value for key, value in mine.items() if key in defaults}
        for key, value in self.changes.items():
            mine[key] = {**mine[key], **value} if isinstance(mine.get(key), dict) else value
        return entry.recipe(entry.settings.model_validate(mine), SearchSize(self.channels, 3, self.spec().space))

    def search(self, seed: int) -> Outcome:
        """Search on the planted task; where ``none`` is no candidate it is none of the reduction cells either."""
        return search(self.record(), seed, self.spec())


def search(method: Method, seed: int, spec: SupernetSpec) -> Outcome:
    searched = replace(spec, space=method.searched(spec.space))
    return run_search(method, searched, planted_data(seed), seed=seed, device=CPU)


FEW = ("skip_connect", "sep_conv_3x3", "dil_conv_3x3", PLANTED)
"""Candidates that cost less, for methods that need many epochs."""

CASES = {
    "darts": Case("darts", {"epochs": 4, "architecture": {"lr": 0.03}}),  # short, for the everyday suite
    "darts-unrolled": Case("darts", {"arch_gradient": "unrolled", "epochs": 4, "architecture": {"lr": 0.03}}),
    "betadarts": Case("betadarts", {"decay": 1.0}),
    "custom": Case(
        "custom", {"phases": ({"epochs": EPOCHS},), "relax": {"operations": "sharpened_softmax", "edges": "softmax"}}
    ),
    "da2s": Case("da2s", {"lambda_c": {"control": "linear", "factor": 0.02}}),
    "dartsminus": Case("dartsminus", {"skip_strength": 0.3}),
    "dartsplus": Case("dartsplus"),
    "drnas": Case("drnas", {"architecture": {"lr": 0.05}}),
    "ecdarts": Case("ecdarts", {"epochs": 5, "architecture": {"lr": 0.06}}, normal=FEW),
    "fairdarts": Case("fairdarts", {"threshold": 0.5, "zero_one_weight": 0.1}),
    "gdas": Case("gdas", {"epochs": 16, "architecture": {"lr": 0.03}}, normal=FEW),
    "pcdarts": Case("pcdarts", {"channel_divisor": 2, "epochs": 9}, normal=FEW),
    "pdarts": Case("pdarts", {"epochs": 3, "cells": (3, 3, 3), "survivors": (4, 2), "architecture": {"lr": 0.05}}),
    "sdarts": Case("sdarts"),
}
"""Settings by method; what is not the default or DARTS' here has a reason.

- da2s, fairdarts: at the published weight the penalty made other operations as heavy as the planted one.
- betadarts: a small decay, since there are few steps; the published 25 was not tried.
- dartsminus: with an auxiliary skip of strength 1 the supernet had not learned the task after 5 epochs.
- ecdarts: an operation competes with itself on the other edge, not with others: there the planted one has 8 times its
  weight, and is heavier than any other by 0.12 of at most 1.
- gdas, pcdarts: one operation a step, or half the channels, learn late; with six candidates both had a seed that
  learned nothing in 12 and 6 epochs.
"""

CASES |= {name: Case(name) for name in sorted(REGISTRY.keys() - {case.method for case in CASES.values()} - {"random"})}

QUICK = ("darts", 0)
"""The one search of the everyday suite."""


def chosen(outcome: Outcome, seed: int) -> Genotype:
    """Return the method's result; with one sample or none nothing is scored."""
    return choose_genotype(outcome.state, lambda _genotype: 0.0, seed=seed)[0]


def prefers(state: SearchState) -> bool:
    """Say whether the planted operation is the heaviest of the normal cell, clearly above what it competes with."""
    with torch.no_grad():
        products_EO = state.mixing()["normal"].products().tolist()
    edges: list[dict[str, float]] = [
        {name: weight for name, weight in zip(names, weights_O, strict=True) if name != "none"}
        for names, weights_O in zip(state.spec.space.candidates["normal"], products_EO, strict=True)
    ]
    strongest = max(edges, key=lambda weights: max(weights.values()))
    planted = strongest.get(PLANTED, 0.0)
    if planted < max(strongest.values()):
        return False
    if state.method.relax is cross_edge_softmax:  # an operation competes with itself on the other edges
        rivals = [weights[PLANTED] for weights in edges if weights is not strongest]
    else:
        rivals = [weight for name, weight in strongest.items() if name != PLANTED]
    return planted > CLEARLY * max(rivals, default=0.0)


def finds_clearly(outcome: Outcome, seed: int) -> bool:
    """Ask for more than ``finds``, which one genotype in three does by chance."""
    genotype = chosen(outcome, seed)
    everywhere = all(choice.operation == PLANTED for node in genotype["normal"].nodes for choice in node)
    return finds(genotype) and (everywhere or prefers(outcome.state))


@cache
def outcome_of(case: str, seed: int) -> Outcome:
    return CASES[case].search(seed)


@pytest.mark.parametrize(
    ("case", "seed"),
    [
        pytest.param(case, seed, marks=() if (case, seed) == QUICK else pytest.mark.slow)
        for case in CASES
        for seed in SEEDS
    ],
)
def test_a_method_finds_the_planted_operation(case: str, seed: int) -> None:
    outcome = outcome_of(case, seed)
    assert finds_clearly(outcome, seed), chosen(outcome, seed)["normal"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_induced_model_of_ecdarts_has_learned_the_task(seed: int) -> None:
    induced = outcome_of("ecdarts", seed).state.induced
    assert induced is not None
    assert induced.accuracy > LEARNED


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_dartsplus_goes_its_full_length(seed: int) -> None:
    assert len(outcome_of("dartsplus", seed).history.rows) == EPOCHS


# -- controls --


def test_random_sampling_rarely_finds_the_planted_operation() -> None:
    case = Case("random", {"epochs": 0, "samples": 1})
    outcomes = [case.search(seed) for seed in range(20)]
    clearly = [finds_clearly(outcome, seed) for seed, outcome in enumerate(outcomes)]
    anywhere = [finds(chosen(outcome, seed)) for seed, outcome in enumerate(outcomes)]
    assert sum(clearly) <= sum(anywhere) < len(outcomes) / 2
    assert not all(anywhere[seed] for seed in SEEDS)


@pytest.mark.slow
def test_a_search_that_climbs_the_validation_loss_shuns_the_planted_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def flipped(*arguments: Any) -> tuple[Tensor, ...]:
        return tuple(-gradient for gradient in arch_gradient(*arguments))

    monkeypatch.setattr("nascommon.search.passes.arch_gradient", flipped)
    outcome = CASES["darts"].search(0)
    assert not finds(chosen(outcome, 0))
    planted_E = outcome.state.mixing()["normal"].weights_EO[:, NORMAL.index(PLANTED)].detach()
    assert float(planted_E.max()) < 1 / len(NORMAL) / 2


# -- the plant --


@cache
def accuracy_alone(operation: str) -> float:
    """Train the network with one operation on both edges of its normal cell; return its accuracy on the other half."""
    case = Case("darts", {"epochs": 10}, normal=(operation,), reduction=("skip_connect",))
    method = replace(case.record(), arch_gradient=None)
    return float(search(method, 0, case.spec()).history.rows[-1]["valid_accuracy"])


@pytest.mark.slow
def test_the_planted_operation_alone_learns_the_task() -> None:
    assert accuracy_alone(PLANTED) >= LEARNED


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["skip_connect", "sep_conv_3x3", "dil_conv_3x3"])
def test_no_other_operation_learns_the_task_alone(operation: str) -> None:
    assert accuracy_alone(operation) < BLIND
