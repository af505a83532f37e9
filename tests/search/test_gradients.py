"""The three architecture gradients are what the DARTS paper and its released code compute, and nothing else moves."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.twin import Twin
from nascommon.data.batch import Batch
from nascommon.method import ArchGradient, WeightOptimiser
from nascommon.parts.choices import Approximation, FirstOrder, Sample, Unrolled, UnrolledExact
from nascommon.parts.control import Progress
from nascommon.parts.logits import CellLogits, Logits
from nascommon.search.gradients import arch_gradient, first_order, unrolled, unrolled_exact
from nascommon.search.passes import weight_step
from nascommon.search.state import SearchState
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.space import CellSpace, Space
from tests.search.small import batch, double_state, equal, frozen, plain_loss, tiny_method
from tests.space.kinds import two

FIRST_ORDER = FirstOrder()
KINDS: list[Approximation] = [FIRST_ORDER, Unrolled(), UnrolledExact()]
TRAIN, VALID = batch(1), batch(2)


def state_after(steps: int, kind: Approximation = FIRST_ORDER, **weights: Any) -> SearchState:
    """Return a state whose optimiser has taken ``steps`` weight steps, so that momentum buffers are there or not."""
    method = tiny_method(arch_gradient=ArchGradient(kind), weights=WeightOptimiser(lr=0.1, **weights))
    state = double_state(method)
    for step in range(steps):
        weight_step(state, batch(10 + step))
    state.weight_optimiser.zero_grad(set_to_none=True)
    return state


def relative(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> float:
    """Return the largest deviation over the largest value."""
    one, other = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (ours, theirs))
    return float((one - other).abs().max() / other.abs().max())


# -- plain twins, written from docs/methods.md, section 3.2 --


def twin_loss(state: SearchState, weights: dict[str, Tensor], data: Batch, alphas: list[Tensor]) -> Tensor:
    mixing = two(Mixing, *(CellMixing(alpha.softmax(-1)) for alpha in alphas))
    return functional.cross_entropy(Twin(state.spec, weights, mixing).logits(data.images), data.labels)


def momentum_buffers(state: SearchState) -> dict[str, Tensor]:
    """Return the buffers by name, zero where there is none yet."""
    return {
        name: state.weight_optimiser.state.get(w, {}).get("momentum_buffer", torch.zeros_like(w)).clone()
        for name, w in state.supernet.named_parameters()
    }


def twin_unrolled_loss(state: SearchState, alphas: list[Tensor], *, graph: bool) -> Tensor:
    """Return L_valid(w - eta (0.9 buffer + grad + decay w), a), all by hand."""
    group, buffers = state.weight_optimiser.param_groups[0], momentum_buffers(state)
    w = {name: tensor.detach().clone().requires_grad_() for name, tensor in state.supernet.named_parameters()}
    slopes = torch.autograd.grad(twin_loss(state, w, TRAIN, alphas), list(w.values()), create_graph=graph)
    stepped = {
        name: w[name] - group["lr"] * (group["momentum"] * buffers[name] + slope + group["weight_decay"] * w[name])
        for name, slope in zip(w, slopes, strict=True)
    }
    return twin_loss(state, stepped, VALID, alphas)


def released_gradient(state: SearchState, radius: float, *, parenthesised: bool = True) -> tuple[Tensor, ...]:
    """Literally perturb the parameters of a copy, as the released DARTS code does."""
    group, buffers = state.weight_optimiser.param_groups[0], momentum_buffers(state)
    alphas = [tensor.detach().clone().requires_grad_() for tensor in state.logits.tensors()]

    def gradients(net: torch.nn.Module, data: Batch) -> tuple[list[Tensor], list[Tensor]]:
        mixing = two(Mixing, *(CellMixing(alpha.softmax(-1)) for alpha in alphas))
        loss = functional.cross_entropy(net(data.images, mixing), data.labels)
        found = torch.autograd.grad(loss, [*alphas, *net.parameters()])
        return list(found[:2]), list(found[2:])

    net = copy.deepcopy(state.supernet).train()
    virtual = copy.deepcopy(net)
    _, slopes = gradients(net, TRAIN)
    with torch.no_grad():
        for (name, w), slope in zip(virtual.named_parameters(), slopes, strict=True):
            w.sub_(group["lr"] * (group["momentum"] * buffers[name] + slope + group["weight_decay"] * w))
    direct, v = gradients(virtual, VALID)
    R = radius / torch.cat([tensor.flatten() for tensor in v]).norm()

    def move(by: Tensor) -> None:
        with torch.no_grad():
            for w, v_w in zip(net.parameters(), v, strict=True):
                w.add_(by * v_w)

    move(R)
    up, _ = gradients(net, TRAIN)
    move(-2 * R)
    down, _ = gradients(net, TRAIN)
    implicit = [(p - n) / (2 * R) if parenthesised else (p - n) / 2 * R for p, n in zip(up, down, strict=True)]
    return tuple(d - group["lr"] * i for d, i in zip(direct, implicit, strict=True))


# -- values --


def test_first_order_is_plain_autograd_on_the_validation_loss() -> None:
    state = state_after(2)
    twin = copy.deepcopy(state)
    wanted = torch.autograd.grad(plain_loss(twin, VALID), twin.logits.tensors())
    assert relative(first_order(state, VALID), wanted) < 1e-12


@pytest.mark.parametrize("steps", [0, 2])
def test_the_exact_gradient_equals_a_virtual_step_written_by_hand(steps: int) -> None:
    state = state_after(steps, weight_decay=0.03)
    assert any(bool(buffer.any()) for buffer in momentum_buffers(state).values()) == (steps > 0)
    alphas = [tensor.detach().clone().requires_grad_() for tensor in state.logits.tensors()]
    expected = torch.autograd.grad(twin_unrolled_loss(state, alphas, graph=True), alphas)
    assert relative(unrolled_exact(state, TRAIN, VALID), expected) < 1e-9


def test_the_exact_gradient_equals_the_slope_of_the_unrolled_loss() -> None:
    state = state_after(2)
    exact = unrolled_exact(state, TRAIN, VALID)
    directions = [torch.randn_like(tensor) for tensor in exact]
    losses = []
    for step in (1e-6, -1e-6):
        moved = [
            (alpha.detach() + step * direction).requires_grad_()
            for alpha, direction in zip(state.logits.tensors(), directions, strict=True)
        ]
        losses.append(float(twin_unrolled_loss(state, moved, graph=False).detach()))
    expected = float(sum((g * d).sum() for g, d in zip(exact, directions, strict=True)))
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(expected, rel=1e-5)


def test_momentum_and_weight_decay_enter_the_virtual_step() -> None:
    with_both = state_after(2, weight_decay=0.03)
    without_decay, without_momentum = copy.deepcopy(with_both), copy.deepcopy(with_both)
    without_decay.method = replace(with_both.method, weights=WeightOptimiser(lr=0.1, weight_decay=0.0))
    without_momentum.method = replace(
        with_both.method, weights=WeightOptimiser(lr=0.1, weight_decay=0.03, momentum=0.0)
    )
    ours = unrolled_exact(with_both, TRAIN, VALID)
    assert relative(unrolled_exact(without_decay, TRAIN, VALID), ours) > 1e-4
    assert relative(unrolled_exact(without_momentum, TRAIN, VALID), ours) > 1e-4


@pytest.mark.parametrize("steps", [0, 2])
def test_the_finite_difference_with_a_tiny_radius_equals_the_exact_gradient(steps: int) -> None:
    state = state_after(steps)
    exact = unrolled_exact(state, TRAIN, VALID)
    assert relative(unrolled(state, TRAIN, VALID, 1e-6), exact) < 1e-7
    assert relative(first_order(state, VALID), exact) > 1e-3  # so the second term matters here


@pytest.mark.parametrize("steps", [0, 2])
def test_the_papers_radius_equals_the_released_code_with_its_parenthesis(steps: int) -> None:
    state = state_after(steps)
    ours = unrolled(state, TRAIN, VALID, 1e-2)
    assert relative(ours, released_gradient(state, 1e-2)) < 1e-9
    assert relative(ours, released_gradient(state, 1e-2, parenthesised=False)) > 1e-3


def test_the_method_names_the_gradient_and_its_radius() -> None:
    state = state_after(1, FirstOrder())
    by_kind: dict[Approximation, tuple[Tensor, ...]] = {
        FirstOrder(): first_order(copy.deepcopy(state), VALID),
        Unrolled(radius=0.5): unrolled(state, TRAIN, VALID, 0.5),
        UnrolledExact(): unrolled_exact(state, TRAIN, VALID),
    }
    for kind, expected in by_kind.items():
        state.method = replace(state.method, arch_gradient=ArchGradient(kind))
        assert relative(arch_gradient(state, TRAIN, VALID), expected) < 1e-12
    assert relative(by_kind[Unrolled(radius=0.5)], by_kind[UnrolledExact()]) > 1e-6


def test_a_method_that_learns_no_architecture_has_no_gradient() -> None:
    with pytest.raises(AssertionError, match="learns no architecture"):
        arch_gradient(double_state(tiny_method(arch_gradient=None)), TRAIN, VALID)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_where_every_edge_draws_none_the_gradient_is_zero(kind: Approximation, pieces: int) -> None:
    def draw(_logits: CellLogits, mixing: CellMixing, space: CellSpace, _progress: Progress) -> CellMixing:
        return replace(mixing, active=tuple((names.index("none"),) for names in space.candidates))

    state = state_after(1, kind)
    state.pieces, state.method = pieces, replace(state.method, sample=Sample(draw))
    ours = arch_gradient(state, TRAIN, VALID)
    assert equal(ours, tuple(map(torch.zeros_like, state.logits.tensors())))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_penalty_enters_the_gradient_with_its_progress(kind: Approximation) -> None:
    def penalty(logits: Logits, _space: Space, progress: Progress) -> Tensor:
        return progress * (logits["normal"].alpha_EO ** 2).sum()

    state = state_after(1, kind)
    without = arch_gradient(copy.deepcopy(state), TRAIN, VALID)
    state.method, state.progress = replace(state.method, penalty=penalty), 0.25
    ours = arch_gradient(state, TRAIN, VALID)
    torch.testing.assert_close(ours[0] - without[0], 0.5 * state.logits["normal"].alpha_EO.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(ours[1], without[1], rtol=0, atol=1e-12)


# -- what stays as it was --


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_weights_optimisers_logits_and_all_grads_stay_untouched(kind: Approximation, steps: int) -> None:
    state = state_after(steps, kind)
    for parameter in state.supernet.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    before = frozen(state)
    arch_gradient(state, TRAIN, VALID)
    after = frozen(state)
    buffers = {name for name, _ in state.supernet.named_buffers()}
    assert equal(
        {name: value for name, value in before["supernet"].items() if name not in buffers},
        {name: value for name, value in after["supernet"].items() if name not in buffers},
    )
    assert all(equal(before[part], after[part]) for part in ("logits", "weight_optimiser", "arch_optimiser"))
    assert all(
        bool((parameter.grad == 3).all()) for parameter in state.supernet.parameters() if parameter.grad is not None
    )
    assert all(parameter.grad is not None for parameter in state.supernet.parameters())
    assert all(tensor.grad is None and tensor.requires_grad for tensor in state.logits.tensors())


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_unrolled_gradients_leave_the_running_statistics_clean(kind: Approximation) -> None:
    state = state_after(1, kind)
    before = copy.deepcopy(dict(state.supernet.named_buffers()))
    arch_gradient(state, TRAIN, VALID)
    assert equal(before, dict(state.supernet.named_buffers()))


def test_first_order_updates_the_running_statistics_by_the_validation_batch_as_the_released_code_does() -> None:
    state = state_after(1)
    twin = copy.deepcopy(state.supernet)
    before = copy.deepcopy(dict(state.supernet.named_buffers()))
    first_order(state, VALID)
    twin(VALID.images, state.mixing())
    ours = dict(state.supernet.named_buffers())
    assert equal(ours, dict(twin.named_buffers()))
    assert not equal(ours, before)
