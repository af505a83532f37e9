"""A loss that is no number stops the epoch with one line, and survives the way back from another process."""

from __future__ import annotations

import math
import pickle

import pytest

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
