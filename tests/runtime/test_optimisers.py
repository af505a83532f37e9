"""What an optimiser decides by its device does not come with a checkpoint from another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nascommon.runtime import optimisers
from nascommon.runtime.optimisers import load_optimiser, rate_of, set_rate, sgd


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
