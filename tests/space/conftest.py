from __future__ import annotations

import pytest
from torch import Tensor

from nascommon.space import fan


@pytest.fixture(params=[False, True], ids=["one by one", "stacked"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Compute equal candidates of different edges one by one, as on a CPU, or as one, as on a GPU."""

    def stacks(_x_BCHW: Tensor) -> bool:
        return bool(request.param)

    monkeypatch.setattr(fan, "stacks", stacks)
    return bool(request.param)
