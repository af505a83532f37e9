"""Learning rates and drop-path follow the formulas of the papers, epoch by epoch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nascommon.parts.schedule import (
    Schedule,
    cosine,
    drop_path_probability,
    exponential,
    linear,
    progress,
    warmed_up,
)

rates = st.floats(1e-3, 2)
lengths = st.integers(1, 700)


def rates_of(schedule: Schedule, epochs: int) -> list[float]:
    return [schedule(epoch, epochs) for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("lr", "lr_min", "epochs"), [(0.025, 0.001, 50), (0.025, 0.0, 600), (0.1, 0.0, 7), (0.5, 0.1, 1)]
)
def test_cosine_is_that_of_torch_stepped_at_the_end_of_every_epoch(lr: float, lr_min: float, epochs: int) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, float(epochs), eta_min=lr_min)  # type: ignore[arg-type]
    theirs = []
    for _ in range(epochs):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates_of(cosine(lr, lr_min), epochs) == pytest.approx(theirs, rel=1e-9)


@given(rates, lengths)
def test_cosine_starts_at_the_rate_falls_and_stays_above_the_minimum(lr: float, epochs: int) -> None:
    ours = rates_of(cosine(lr, lr / 10), epochs)
    assert ours[0] == pytest.approx(lr)
    assert all(later < earlier for earlier, later in pairwise(ours))
    assert ours[-1] > lr / 10


def test_exponential_multiplies_after_every_epoch() -> None:
    assert rates_of(exponential(0.1, 0.97), 250)[:3] == pytest.approx([0.1, 0.097, 0.09409])
    assert exponential(0.1, 0.97)(249, 250) == pytest.approx(0.1 * 0.97**249)


@given(rates, st.integers(6, 700))
def test_linear_falls_steadily_and_at_a_fifth_of_the_slope_over_the_last_five_epochs(lr: float, epochs: int) -> None:
    ours = rates_of(linear(lr), epochs)
    steep = epochs - 5
    for epoch in range(steep):
        assert ours[epoch] == pytest.approx(lr * (epochs - 5 - epoch) / steep)
    for epoch in range(steep, epochs):
        assert ours[epoch] == pytest.approx(lr * (epochs - epoch) / (steep * 5))


def test_the_published_linear_schedule_on_imagenet_value_by_value() -> None:
    ours = rates_of(warmed_up(linear(0.5), 0.5, 5), 250)
    assert ours[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert ours[5] == pytest.approx(0.5 * 240 / 245)
    assert ours[244] == pytest.approx(0.5 / 245)
    assert ours[245:] == pytest.approx([0.5 * left / 1225 for left in (5, 4, 3, 2, 1)])


@given(rates, st.integers(1, 5))
def test_linear_on_five_epochs_or_fewer_is_one_straight_line(lr: float, epochs: int) -> None:
    assert rates_of(linear(lr), epochs) == pytest.approx([lr * (epochs - epoch) / epochs for epoch in range(epochs)])


@given(rates, st.integers(1, 20), st.integers(21, 300))
def test_warm_up_rises_in_equal_steps_and_then_follows_the_schedule(lr: float, warmup: int, epochs: int) -> None:
    schedule = cosine(lr, 0)
    ours = rates_of(warmed_up(schedule, lr, warmup), epochs)
    assert ours[:warmup] == pytest.approx([lr * (epoch + 1) / warmup for epoch in range(warmup)])
    assert ours[warmup:] == rates_of(schedule, epochs)[warmup:]


@given(st.floats(1e-3, 0.9) | st.just(0.0), lengths)
def test_drop_path_rises_linearly_from_zero_and_never_reaches_its_maximum(maximum: float, epochs: int) -> None:
    ours = [drop_path_probability(maximum, epoch, epochs) for epoch in range(epochs)]
    assert ours == pytest.approx([maximum * epoch / epochs for epoch in range(epochs)])
    assert ours[0] == 0
    assert maximum == 0 or ours[-1] < maximum


@given(lengths)
def test_progress_runs_from_zero_in_the_first_to_one_in_the_last_epoch(epochs: int) -> None:
    ours = [progress(epoch, epochs) for epoch in range(epochs)]
    assert ours[0] == 0
    assert epochs == 1 or ours[-1] == 1
    assert ours == sorted(ours)
