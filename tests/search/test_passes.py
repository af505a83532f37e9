"""One pass alternates an architecture step and a weight step, and each moves only what is its own."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional

from nascommon.data.batch import Batch
from nascommon.method import ArchGradient, ArchOptimiser, WeightOptimiser
from nascommon.parts.choices import Approximation, Unrolled, UnrolledExact
from nascommon.search import passes
from nascommon.search.gradients import first_order
from nascommon.search.passes import Epoch, SearchData, architecture_step, endless, soft_pass, weight_step
from nascommon.search.state import SearchState
from tests.search.small import TinyBatches, adam, batch, double_state, equal, frozen, plain_loss, tiny_data, tiny_method

DOUBLE = tiny_data(torch.float64)


def ignore(_done: int, _total: int) -> None:
    pass


def changed(before: dict[str, object], state: SearchState) -> set[str]:
    return {part for part, value in frozen(state).items() if not equal(before[part], value)}


@pytest.mark.parametrize("kind", [Unrolled(), UnrolledExact()], ids=str)
def test_an_unrolled_architecture_step_changes_the_logits_and_their_optimiser_alone(kind: Approximation) -> None:
    state = double_state(tiny_method(arch_gradient=ArchGradient(kind)))
    before = frozen(state)
    architecture_step(state, batch(1), batch(2))
    assert changed(before, state) == {"logits", "arch_optimiser"}
    assert all(tensor.grad is None for tensor in [*state.logits.tensors(), *state.supernet.parameters()])


def test_a_first_order_architecture_step_changes_no_network_weight() -> None:
    state = double_state()
    before = copy.deepcopy(dict(state.supernet.named_parameters()))
    logits = copy.deepcopy(state.logits.tensors())
    architecture_step(state, batch(1), batch(2))
    assert equal(before, dict(state.supernet.named_parameters()))
    assert all(parameter.grad is None for parameter in state.supernet.parameters())
    assert not any(map(torch.equal, logits, state.logits.tensors()))


@pytest.mark.parametrize("clip", [None, 0.002, 1e3])
def test_architecture_steps_are_adam_with_l2_inside_after_clipping(clip: float | None) -> None:
    settings = ArchOptimiser(lr=0.01, beta1=0.5, beta2=0.9, weight_decay=0.05, clip=clip)
    state = double_state(tiny_method(arch_gradient=ArchGradient(optimiser=settings)))
    mine = [tensor.detach().clone().requires_grad_() for tensor in state.logits.tensors()]
    adam = torch.optim.Adam(mine, lr=0.01, betas=(0.5, 0.9), weight_decay=0.05)
    for step in range(4):  # of Adam's first step only the signs are seen
        gradients = first_order(copy.deepcopy(state), batch(step))
        norm = float(
            torch.cat([gradient.flatten() for gradient in gradients]).norm()
        )  # of both kinds of cells together
        scale = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        assert (scale < 1) == (clip == 0.002)
        for tensor, gradient in zip(mine, gradients, strict=True):
            tensor.grad = scale * gradient
        adam.step()
        architecture_step(state, batch(9), batch(step))
        torch.testing.assert_close(state.logits.tensors(), mine, rtol=1e-9, atol=1e-12)


def test_a_weight_step_changes_the_network_and_its_optimiser_alone_and_gives_the_logits_no_gradient() -> None:
    state = double_state()
    before = frozen(state)
    weight_step(state, batch(1))
    assert changed(before, state) == {"supernet", "weight_optimiser"}
    assert all(tensor.grad is None for tensor in state.logits.tensors())


@pytest.mark.parametrize("clip", [0.05, 1e3])
def test_the_weight_step_is_sgd_with_momentum_decay_and_clipping(clip: float) -> None:
    state = double_state(tiny_method(weights=WeightOptimiser(lr=0.1, momentum=0.9, weight_decay=0.02, clip=clip)))
    buffers: dict[str, torch.Tensor] = {}
    for step in range(3):
        twin = copy.deepcopy(state)
        named = dict(twin.supernet.named_parameters())
        slopes = torch.autograd.grad(plain_loss(twin, batch(step)), list(named.values()))
        norm = torch.cat([slope.flatten() for slope in slopes]).norm()
        scale = min(1.0, clip / (float(norm) + 1e-6))
        assert (scale < 1) == (clip < 1)
        weight_step(state, batch(step))
        for (name, w), slope in zip(named.items(), slopes, strict=True):
            decayed = scale * slope + 0.02 * w.detach()
            buffers[name] = 0.9 * buffers[name] + decayed if step else decayed
            ours = state.supernet.get_parameter(name).detach()
            torch.testing.assert_close(ours, w.detach() - 0.1 * buffers[name], rtol=1e-9, atol=1e-12)


def test_the_weight_step_reports_the_loss_and_the_correct_answers_before_it() -> None:
    state = double_state()
    twin, data = copy.deepcopy(state), batch(1)
    loss, correct = weight_step(state, data)
    logits = twin.supernet(data.images, twin.mixing())
    torch.testing.assert_close(loss, functional.cross_entropy(logits, data.labels).detach())
    assert int(correct) == int((logits.argmax(1) == data.labels).sum())
    assert not loss.requires_grad


def test_logits_are_in_no_weight_optimiser_and_weights_in_no_architecture_optimiser() -> None:
    state = double_state()
    weights = [id(p) for group in state.weight_optimiser.param_groups for p in group["params"]]
    logits = [id(p) for group in adam(state).param_groups for p in group["params"]]
    assert sorted(weights) == sorted(map(id, state.supernet.parameters()))
    assert logits == [id(tensor) for tensor in state.logits.tensors()]
    assert not set(weights) & set(logits)
    assert not set(logits) & set(map(id, state.supernet.parameters()))


# -- the pass --


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Batch]]:
    """Write down every step instead of losing sight of it."""
    steps: list[tuple[str, Batch]] = []
    architecture, weight = passes.architecture_step, passes.weight_step

    def on_architecture(state: SearchState, train: Batch, valid: Batch) -> None:
        steps.extend([("train", train), ("architecture", valid)])
        architecture(state, train, valid)

    def on_weight(state: SearchState, train: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        steps.append(("weight", train))
        return weight(state, train)

    monkeypatch.setattr(passes, "architecture_step", on_architecture)
    monkeypatch.setattr(passes, "weight_step", on_weight)
    return steps


def test_every_architecture_step_stands_before_its_weight_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = record_steps(monkeypatch)
    soft_pass(double_state(), DOUBLE, Epoch(3, architecture_steps=True), ignore)
    assert [name for name, _ in steps] == ["train", "architecture", "weight"] * len(DOUBLE.weights)
    trained = [data for name, data in steps if name == "weight"]
    assert equal(trained, list(DOUBLE.weights.epoch(3)))
    assert equal([data for name, data in steps if name == "train"], trained)
    validated = [data for name, data in steps if name == "architecture"]
    assert equal(validated, list(islice(endless(DOUBLE.architecture, 3), len(validated))))


def test_an_epoch_without_architecture_steps_leaves_the_logits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = record_steps(monkeypatch)
    state = double_state()
    before = frozen(state)
    soft_pass(state, DOUBLE, Epoch(0, architecture_steps=False), ignore)
    assert [name for name, _ in steps] == ["weight"] * len(DOUBLE.weights)
    assert changed(before, state) == {"supernet", "weight_optimiser"}


def test_the_pass_reports_means_over_images_and_every_batch() -> None:
    uneven = TinyBatches(7, 5, dtype=torch.float64)
    data = SearchData(uneven, uneven, uneven)
    state, told = double_state(), []
    twin = copy.deepcopy(state)
    metrics = soft_pass(state, data, Epoch(0, architecture_steps=False), lambda *done: told.append(done))
    losses, hits = zip(*(weight_step(twin, batch) for batch in uneven.epoch(0)), strict=True)
    assert metrics["train_loss"] == pytest.approx(float(5 * losses[0] + 2 * losses[1]) / 7)
    assert metrics["train_accuracy"] == pytest.approx(float(sum(hits)) / 7)
    assert told == [(1, 2), (2, 2)]


def test_the_pass_trains_even_a_supernet_that_was_left_in_evaluation_mode() -> None:
    state = double_state()
    state.supernet.eval()
    soft_pass(state, DOUBLE, Epoch(0, architecture_steps=True), ignore)
    assert all(layer.training for layer in state.supernet.modules() if isinstance(layer, nn.BatchNorm2d))


def test_endless_sweeps_over_all_images_in_ever_new_orders_that_the_key_decides() -> None:
    batches = TinyBatches(10, 5)
    first = list(islice(endless(batches, 4), 6))
    assert equal(first, list(islice(endless(batches, 4), 6)))
    assert not equal(first, list(islice(endless(batches, 5), 6)))
    sweeps = [torch.cat([images for images, _ in first[i : i + 2]]) for i in (0, 2, 4)]
    everything = sorted(batches.images.sum((1, 2, 3)).tolist())
    for sweep in sweeps:
        assert sorted(sweep.sum((1, 2, 3)).tolist()) == pytest.approx(everything)
    assert not torch.equal(sweeps[0], sweeps[1])
