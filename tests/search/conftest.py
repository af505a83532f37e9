"""A search is run once; every test reads it."""

from __future__ import annotations

import copy

import pytest

from nascommon.search.state import SearchState
from tests.search.whole import TWO_PHASES, Watched, search


@pytest.fixture(scope="session")
def two_phases() -> Watched:
    """A search of two phases; not to be changed."""
    states: list[SearchState] = []
    outcome = search(TWO_PHASES, on_snapshot=lambda _row, state, **_last: states.append(copy.deepcopy(state)))
    return Watched(outcome, states)
