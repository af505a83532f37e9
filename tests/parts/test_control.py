"""Control functions are the papers' curves over 50 epochs, for a search of any length."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from nascommon.parts.control import DELAYED, EPOCHS, PLAIN, Control, ControlName, between, falling, scaled
from nascommon.parts.schedule import progress
from tests.oracles import rules

NAMES = get_args(ControlName)
MEASURED = rules.facts()["da2s"]["control_functions_by_epoch_of_50"]


@pytest.mark.parametrize("name", NAMES)
def test_a_control_function_is_the_released_one_at_every_measured_epoch(name: ControlName) -> None:
    ours = {epoch: PLAIN[name](progress(int(epoch) - 1, 50)) for epoch in MEASURED[name]}
    assert ours == pytest.approx(MEASURED[name], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_delayed_control_function_is_the_released_one_at_every_measured_epoch(name: ControlName) -> None:
    measured = MEASURED[f"{name}_"]
    ours = {epoch: DELAYED[name](progress(int(epoch) - 1, 50)) for epoch in measured}
    assert ours == pytest.approx(measured, abs=1e-9)


def test_the_measured_functions_are_all_that_a_user_can_name() -> None:
    assert set(MEASURED) == {*NAMES, *(f"{name}_" for name in NAMES)}
    assert set(PLAIN) == set(DELAYED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", [PLAIN, DELAYED], ids=["plain", "delayed"])
def test_no_control_function_ever_falls(name: ControlName, table: dict[ControlName, Control]) -> None:
    values = [table[name](progress(epoch, 333)) for epoch in range(333)]
    assert values == sorted(values)


@pytest.mark.parametrize("name", NAMES)
def test_a_delayed_control_function_is_zero_for_the_first_eight_fiftieths_of_a_search_of_any_length(
    name: ControlName,
) -> None:
    values = [DELAYED[name](progress(epoch, 491)) for epoch in range(491)]  # ten steps to one epoch of the papers
    assert values[:71] == [0.0] * 71
    assert DELAYED["const"](progress(71, 491)) == 1.0


def test_a_search_of_one_epoch_sees_the_start_of_every_curve() -> None:
    assert {name: PLAIN[name](progress(0, 1)) for name in NAMES} == pytest.approx(
        {"const": 1.0, "linear": 0.0, "log": 0.0, "exp": 2**-9.8, "step": 0.0}
    )


def test_scaled_multiplies() -> None:
    assert scaled(4.0, PLAIN["linear"])(0.25) == 1.0


def test_between_goes_straight_from_the_first_to_the_last_value() -> None:
    curve = between(10.0, 0.1)
    assert [curve(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([10.0, 5.05, 0.1])


def test_falling_goes_from_one_to_zero() -> None:
    assert [falling(t) for t in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]


@pytest.mark.parametrize(
    "control",
    [*PLAIN.values(), *DELAYED.values(), falling, between(3.0, 1.0), scaled(0.5, PLAIN["log"])],
)
def test_a_scalar_tensor_gives_what_a_number_gives_and_is_not_looked_at(control: Control) -> None:
    for epoch in range(EPOCHS):
        share = progress(epoch, EPOCHS)
        found = control(torch.tensor(share, dtype=torch.float64))
        assert float(found) == pytest.approx(float(control(share)), rel=1e-6, abs=1e-12)
    control(torch.tensor(0.0, device="meta"))  # has no value to look at
