"""Axes have room around what they show, and steps that a person reads."""

from __future__ import annotations

import pytest

from nascommon.report.page.svg import padded, ticks


@pytest.mark.parametrize(
    ("values", "limits"), [([1.0, 2.0], (0.94, 2.06)), ([50.0, 50.0], (47.0, 53.0)), ([0.0, 0.0], (-1.0, 1.0))]
)
def test_values_have_room_around_them_and_zeros_alone_have_an_axis_that_can_be_read(
    values: list[float], limits: tuple[float, float]
) -> None:
    assert padded(values) == pytest.approx(limits)
    assert all(f"{tick:g}" == f"{tick:.4g}" and (tick == 0 or abs(tick) > 0.01) for tick in ticks(padded(values)))
