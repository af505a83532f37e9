"""What an optimiser decides by its device does not come with a checkpoint from another."""

from __future__ import annotations

import torch
from torch import nn

from nascommon.runtime.optimisers import load_optimiser, sgd


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
