"""The section ``search`` has the papers' size by default and refuses a supernet that cannot be searched."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nascommon.search.settings import SearchSettings


def test_the_default_supernet_is_that_of_the_papers() -> None:
    settings = SearchSettings(method="darts")
    nodes = {cell.topology.nodes for cell in settings.chosen_space().cells.values()}
    assert (settings.channels, settings.cells, nodes) == (16, 8, {4})


@pytest.mark.parametrize(
    "wrong",
    [{}, {"method": "darts", "channels": 0}, {"method": "darts", "nodes": 0}, {"method": "darts", "snapshots": -1},
     {"method": "darts", "cell": 8}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchSettings.model_validate(wrong)


@pytest.mark.parametrize("cells", [1, 2])
def test_a_supernet_without_a_normal_cell_is_refused(cells: int) -> None:
    # Cells 0 and 1 of so few are reductions: nothing depends on the logits of the normal cells.
    with pytest.raises(ValidationError, match="cells"):
        SearchSettings(method="darts", cells=cells)
