"""What an optimiser decides by its device does not come with a checkpoint from another."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import sgd as pytorch

from nascommon.runtime import optimisers
from nascommon.runtime.optimisers import clip_gradients, load_optimiser, rate_of, set_rate, sgd
from nascommon.runtime.together import concatenated, lay_together


def stepped(*, fused: bool) -> torch.optim.SGD:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimiser = sgd(model, 0.1, 0.9, 0.01, fused=fused)
    model(torch.ones(4, 3)).sum().backward()
    optimiser.step()
    return optimiser


def test_a_saved_state_keeps_the_choices_of_the_optimiser_that_takes_it_up() -> None:
    saved, other = stepped(fused=True), stepped(fused=False)
    saved.param_groups[0]["lr"] = 0.5
    load_optimiser(other, saved.state_dict())
    assert saved.param_groups[0]["fused"] is True
    assert not other.param_groups[0]["fused"]
    assert other.param_groups[0]["lr"] == 0.5
    states = [next(iter(optimiser.state.values()))["momentum_buffer"] for optimiser in (saved, other)]
    assert torch.equal(*states)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimisers, "keeps_numbers", lambda _: True)


@pytest.mark.usefixtures("kept")
def test_where_steps_read_the_rate_from_the_device_it_is_changed_in_place() -> None:
    optimiser = stepped(fused=True)
    rate = rate_of(optimiser)
    assert isinstance(rate, torch.Tensor)
    set_rate(optimiser.param_groups[0], 0.25)
    assert (rate_of(optimiser), float(rate)) == (rate, 0.25)
    set_rate(optimiser.param_groups[0], torch.tensor(0.5))
    assert float(rate) == 0.5


def test_with_its_rate_on_the_device_and_sums_from_the_start_steps_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = stepped(fused=True)
    monkeypatch.setattr(optimisers, "keeps_numbers", lambda _: True)
    kept = stepped(fused=True)
    for mine, other in zip(kept.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True):
        assert torch.equal(mine, other)
        assert torch.equal(kept.state[mine]["momentum_buffer"], plain.state[other]["momentum_buffer"])


@pytest.mark.usefixtures("kept")
def test_weights_that_some_steps_leave_out_keep_their_sums() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    optimiser = sgd(nn.ModuleList(layers), 0.1, 0.9, 0.0)
    for used in (layers[:1], layers):
        optimiser.zero_grad()
        torch.cat([layer(torch.ones(1, 2)) for layer in used]).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    sums = [float(optimiser.state[layer.bias]["momentum_buffer"][0]) for layer in layers]
    assert sums == pytest.approx([1.9, 1.0])


def test_a_rate_goes_from_device_to_device(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = stepped(fused=True)
    set_rate(plain.param_groups[0], 0.5)
    monkeypatch.setattr(optimisers, "keeps_numbers", lambda _: True)
    kept = stepped(fused=True)
    load_optimiser(kept, plain.state_dict())
    assert isinstance(rate_of(kept), torch.Tensor)
    assert float(rate_of(kept)) == 0.5
    set_rate(kept.param_groups[0], 0.25)
    load_optimiser(plain, kept.state_dict())
    assert isinstance(rate_of(plain), float)
    assert rate_of(plain) == 0.25


class Laid(nn.Module):
    """Layers whose weights may lie together, beside one that a step may leave out."""

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ParameterList(torch.randn(3, 3, dtype=torch.float64) for _ in range(5))
        self.other = nn.Parameter(torch.randn(3, dtype=torch.float64))
        if together:
            lay_together(list(self.layers))

    def forward(self, *, whole: bool) -> torch.Tensor:
        product = self.other.detach()
        for matrix in concatenated(list(self.layers)).view(5, 3, 3):
            product = matrix @ product
        return product.sum() + (self.other.sum() if whole else 0)


def moved(optimiser: torch.optim.SGD, module: Laid, steps: int, clip: float = 5.0) -> None:
    for step in range(steps):
        optimiser.zero_grad()
        module(whole=step > 0).backward()
        clip_gradients(module.parameters(), clip)
        optimiser.step()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of weights that the kernel was given in each step."""
    counts: list[int] = []

    def counted(weights: list[torch.Tensor], *rest: Any, **options: Any) -> None:
        counts.append(len(weights))
        kernel(weights, *rest, **options)

    kernel = pytorch.sgd
    monkeypatch.setattr(optimisers, "stepped", counted)
    return counts


@pytest.mark.usefixtures("kept")
def test_weights_that_lie_together_are_moved_as_one_and_as_each_alone(given: list[int]) -> None:
    modules = [Laid(together=together) for together in (True, False)]
    plain = Laid(together=False)
    for module in modules:
        moved(sgd(module, 0.125, 0.9, 0.01), module, 3)
    moved(torch.optim.SGD(plain.parameters(), 0.125, 0.9, weight_decay=0.01), plain, 3)
    assert given == [1, 2, 2, 5, 6, 6]
    for module in modules:
        for mine, theirs in zip(module.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("kept")
def test_a_state_is_taken_up_weight_by_weight_and_lies_together_again(given: list[int]) -> None:
    first, second = (Laid(together=True) for _ in range(2))
    saved = sgd(first, 0.125, 0.9, 0.01)
    moved(saved, first, 1)
    state = copy.deepcopy(saved.state_dict())
    assert {tuple(each["momentum_buffer"].shape) for each in state["state"].values()} == {(3,), (3, 3)}
    second.load_state_dict(first.state_dict())
    resumed = sgd(second, 0.125, 0.9, 0.01)
    del state["state"][0]  # of a weight that no step has reached, other devices keep nothing
    load_optimiser(resumed, state)
    given.clear()
    for module, optimiser in ((first, saved), (second, resumed)):
        moved(optimiser, module, 2)
    assert given == [1, 2, 1, 2]
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("device_keeps", [False, True])
@pytest.mark.parametrize("most", [1e-3, 1e3])
def test_gradients_are_clipped_as_by_pytorch(device_keeps: bool, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimisers, "keeps_numbers", lambda _: device_keeps)
    ours, theirs = Laid(together=device_keeps), Laid(together=False)
    for module in (ours, theirs):
        module(whole=False).backward()
    clip_gradients(ours.parameters(), most)
    nn.utils.clip_grad_norm_(theirs.parameters(), most)
    assert ours.other.grad is None
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-12, atol=0)
        assert device_keeps or torch.equal(mine.grad, other.grad)
    clip_gradients([ours.other], most)  # nothing to clip
