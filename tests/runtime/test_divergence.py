"""A loss that is no number stops the epoch with one line, and survives the way back from another process."""

from __future__ import annotations

import math
import pickle

import pytest
from torch import nn

from nascommon.runtime.divergence import DivergenceError, refuse_divergence


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["train_loss", "valid_loss", "induced_train_loss"])
def test_any_loss_that_is_not_finite_is_refused_by_name_epoch_and_cure(name: str, value: float) -> None:
    with pytest.raises(DivergenceError) as caught:
        refuse_divergence({"epoch": 2, "train_loss": 1.0, name: value}, 2, ("a.lr", "b.lr"))
    assert str(caught.value) == f"diverged, {name} is {value} after epoch 3; lower a.lr or b.lr"
    assert caught.value.advice("methods.darts.").endswith("; lower methods.darts.a.lr or methods.darts.b.lr")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_finite_losses_and_other_figures_pass() -> None:
    refuse_divergence({"train_loss": 1e30, "valid_loss": 0.0, "hessian": math.nan, "genotype": "{}"}, 0, ("lr",))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_what_the_last_step_broke_is_seen_in_weights_and_statistics(name: str, value: float) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    refuse_divergence({"train_loss": 1.0}, 0, ("lr",), network)
    network.state_dict()[name].flatten()[0] = value
    with pytest.raises(DivergenceError, match="weights or statistics are not finite after epoch 1; lower lr"):
        refuse_divergence({"train_loss": 1.0}, 0, ("lr",), network)
