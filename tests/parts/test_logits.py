"""Logits are leaf tensors that the search learns, one set for all normal and one for all reduction cells."""

from __future__ import annotations

import pytest
import torch

from nascommon.parts.logits import CellLogits, Logits, initial_logits, normal_alpha, zero_alpha
from nascommon.parts.penalty import no_penalty
from nascommon.runtime.seeding import generator
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import Candidates
from nascommon.space.topology import Topology
from tests.space.kinds import cell_space, space_of, two

CPU = torch.device("cpu")


def fresh(seed: int = 0) -> Logits:
    space = space_of(CANDIDATES, Topology())
    return initial_logits(normal_alpha(1e-3), space, generator(seed, "a"), CPU)


def test_they_are_leaves_that_require_gradients_and_share_nothing() -> None:
    logits = fresh()
    assert [tuple(tensor.shape) for tensor in logits.tensors()] == [(14, 8), (14, 8)]
    assert all(tensor.is_leaf and tensor.requires_grad for tensor in logits.tensors())
    assert not torch.equal(*logits.tensors())


def test_the_generator_decides() -> None:
    assert all(map(torch.equal, fresh(1).tensors(), fresh(1).tensors()))
    assert not any(map(torch.equal, fresh(1).tensors(), fresh(2).tensors()))


@pytest.mark.parametrize("scale", [1e-3, 1e-4, 1.0])
def test_normal_alpha_is_a_standard_normal_times_its_scale(scale: float) -> None:
    alpha_EO = normal_alpha(scale)(cell_space(CANDIDATES, Topology(49)), generator(0)).alpha_EO / scale
    assert alpha_EO.shape == (1274, 8)
    assert float(alpha_EO.mean()) == pytest.approx(0, abs=0.04)
    assert float(alpha_EO.std()) == pytest.approx(1, abs=0.03)


def test_zero_alpha_is_zero() -> None:
    logits = zero_alpha(cell_space(CANDIDATES[:4], Topology(2)), generator(0))
    assert torch.equal(logits.alpha_EO, torch.zeros(5, 4))
    assert logits.beta_E is None


def test_each_kind_of_cell_gets_the_shape_of_its_candidates() -> None:
    space = space_of(two(Candidates, (("skip_connect", "none"),) * 5, (("skip_connect",),) * 5), Topology(2))
    logits = initial_logits(zero_alpha, space, generator(0), CPU)
    assert logits["normal"].alpha_EO.shape == (5, 2)
    assert logits["reduction"].alpha_EO.shape == (5, 1)


def test_load_copies_into_the_same_tensors() -> None:
    logits, other = fresh(1), fresh(2)
    before = logits.tensors()
    logits.load({name: tensor.detach() for name, tensor in other.named().items()})
    assert all(mine is old for mine, old in zip(logits.tensors(), before, strict=True))
    assert all(map(torch.equal, logits.tensors(), other.tensors()))
    assert list(logits.named()) == ["normal.alpha_EO", "reduction.alpha_EO"]


def test_no_penalty_is_a_zero_of_the_logits_kind() -> None:
    tensor = torch.ones(2, 2, dtype=torch.float64)
    penalty = no_penalty(two(Logits, CellLogits(tensor), CellLogits(tensor)), space_of(CANDIDATES), 0.5)
    assert penalty.shape == ()
    assert penalty.dtype == torch.float64
    assert float(penalty) == 0
