"""The discrete space of a search is the same for all methods that choose from the same operations."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nascommon.space.discrete import DiscreteSpace
from nascommon.space.operations import CANDIDATES, WITHOUT_NONE


def test_none_and_the_order_of_the_candidates_make_no_other_space() -> None:
    assert DiscreteSpace.of(CANDIDATES, 4) == DiscreteSpace.of(tuple(reversed(WITHOUT_NONE)), 4)
    assert DiscreteSpace.of(CANDIDATES, 4) != DiscreteSpace.of(CANDIDATES, 3)
    assert DiscreteSpace.of(CANDIDATES, 4) != DiscreteSpace.of(CANDIDATES[:-1], 4)


def test_it_is_written_and_read() -> None:
    space = DiscreteSpace.of(("sep_conv_3x3", "skip_connect"), 2)
    text = space.model_dump_json(by_alias=True)
    assert text == '{"schema":1,"nodes":2,"operations":["skip_connect","sep_conv_3x3"]}'
    assert DiscreteSpace.model_validate_json(text) == space
    assert len(space.candidates()["normal"]) == len(space.topology().edges) == 5
    assert set(space.candidates()["reduction"]) == {space.operations}


@pytest.mark.parametrize("operations", [[], ["none", "skip_connect"], ["sep_conv_3x3", "skip_connect"], ["pool"]])
def test_what_is_no_space_is_refused(operations: list[str]) -> None:
    with pytest.raises(ValidationError, match=r"operations: must be some of .*, in this order"):
        DiscreteSpace.model_validate({"schema": 1, "nodes": 2, "operations": tuple(operations)})
