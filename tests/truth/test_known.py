from __future__ import annotations

import pytest

from nascommon.truth.known import Known


def test_the_mean_is_over_the_seeds() -> None:
    assert Known((0.9, 0.92, 0.94)).mean == pytest.approx(0.92)


@pytest.mark.parametrize("accuracies", [(), (93.4,), (0.5, -0.1), (float("nan"),)])
def test_accuracies_are_shares_and_at_least_one(accuracies: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares in 0"):
        Known(accuracies)
