"""No value that a setting of a method allows makes float32 overflow: that would be told as too high a learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor

from nascommon.config import Params
from nascommon.method import REGISTRY
from nascommon.search.gradients import arch_gradient
from nascommon.search.state import SearchState, new_state
from nascommon.settings import UserError
from nascommon.space.supernet import SupernetSpec
from tests.any_settings import keys, resolved, schema
from tests.search.small import CLASSES, CPU, TinyBatches

LEAST = {"data": {"source": "digits"}, "search": {"method": "darts"}, "methods": {}, "transfer": {"data": None}}
SMALL = {"search.channels": 4, "search.cells": 3, "search.nodes": 2}
RATES = (".lr", ".lr_min", ".momentum", ".beta1", ".beta2")
"""What the advice to lower the learning rate is right about, and what it does not multiply."""


def ends(method: str) -> Iterator[tuple[str, float]]:
    """Yield every number with a fraction of a method's section with the smallest and the largest that it may be."""
    for key, named in keys(schema()):
        part = resolved(named)
        if key.startswith(f"methods.{method}.") and part.get("type") == "number" and not key.endswith(RATES):
            above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
            yield key, part["minimum"] if above is None else math.nextafter(above, math.inf)
            yield key, part["maximum"] if below is None else math.nextafter(below, -math.inf)


def state_of(method: str, cells: int, **changes: Any) -> SearchState:
    base = Params.model_validate({**LEAST, "search": {"method": method}})
    params = base.changed({**SMALL, **changes})
    record = params.method()
    spec = SupernetSpec(4, cells, CLASSES, record.searched(params.search.chosen_space()))
    return new_state(record, spec, seed=0, phase=0, device=CPU)


def finite(tensors: tuple[Tensor, ...]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("method", sorted(REGISTRY))
def test_mixing_weights_penalty_and_their_gradients_are_finite_at_both_ends_of_every_setting(method: str) -> None:
    tried = 0
    for key, value in ends(method):
        with suppress(UserError):  # of those that do not go together
            state = state_of(method, 1, **{key: value})  # logits are the same, however many cells share them
            tried += 1
            for state.progress in (0.0, 1.0):
                mixings = [state.draw("weights"), state.draw("architecture")]
                weights = [cell.products() for mixing in mixings for cell in mixing.values()]
                loss = state.method.penalty(state.logits, state.spec.space, state.seen_progress())
                loss = loss + sum((weight * torch.rand_like(weight)).sum() for weight in weights)
                assert finite((loss, *weights)), (key, value, state.progress)
                if loss.requires_grad:
                    slopes = torch.autograd.grad(loss, state.logits.tensors(), materialize_grads=True)
                    assert finite(slopes), (key, value, state.progress)
    assert tried or method == "random"


def test_the_smallest_radius_of_a_finite_difference_still_divides() -> None:
    train, valid = (next(iter(TinyBatches(seed=seed).epoch(0))) for seed in (1, 2))
    with pytest.raises(UserError, match=r"radius: must be greater than or equal to 0.000001 \(got 1e-300\)"):
        state_of("darts", 3, **{"methods.darts.arch_gradient": {"kind": "unrolled", "radius": 1e-300}})
    for radius in (1e-6, 1e6):
        state = state_of("darts", 3, **{"methods.darts.arch_gradient": {"kind": "unrolled", "radius": radius}})
        assert finite(arch_gradient(state, train, valid)), radius
