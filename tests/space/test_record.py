"""A space on disk is the space again, and what is drawn from is the same for all methods that search it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from nascommon.space.operations import CANDIDATES
from nascommon.space.record import SpaceRecord
from nascommon.space.space import SPACES, find_space
from nascommon.space.topology import Topology
from tests.space.kinds import space_of

DARTS = SPACES["darts"]


def test_none_and_the_order_of_the_candidates_make_no_other_space() -> None:
    drawn = SpaceRecord.for_baseline(DARTS)
    assert drawn == SpaceRecord.for_baseline(DARTS.without_none())
    assert drawn == SpaceRecord.for_baseline(find_space("darts", 4, tuple(reversed(CANDIDATES))))
    assert drawn != SpaceRecord.for_baseline(find_space("darts", 3))
    assert drawn != SpaceRecord.for_baseline(find_space("darts", candidates=CANDIDATES[:-1]))
    assert drawn.cells["normal"].candidates == (CANDIDATES[1:],) * 14


@pytest.mark.parametrize("name", sorted(SPACES))
def test_it_is_written_and_read(name: str) -> None:
    text = SpaceRecord.of(SPACES[name]).model_dump_json(by_alias=True)
    again = SpaceRecord.model_validate_json(text).open()
    assert (again.name, again.skeleton, again.cells) == (name, SPACES[name].skeleton, SPACES[name].cells)


def test_its_form() -> None:
    record = SpaceRecord.of(space_of(("skip_connect",), Topology(1)))
    skips = [["skip_connect"], ["skip_connect"]]
    cell = {"nodes": 1, "concat": [], "kept": 2, "candidates": skips, "none_wins": True}
    assert record.model_dump(mode="json", by_alias=True) == {
        "schema": 2, "space": "test", "skeleton": "darts", "cells": {"normal": cell, "reduction": cell},
    }  # fmt: skip


def set_skeleton(tree: dict[str, Any]) -> None:
    tree["skeleton"] = "dart"


def drop_cell(tree: dict[str, Any]) -> None:
    del tree["cells"]["reduction"]


def drop_edge(tree: dict[str, Any]) -> None:
    tree["cells"]["normal"]["candidates"].pop()


def drop_candidate(tree: dict[str, Any]) -> None:
    tree["cells"]["normal"]["candidates"][3].pop()


def misspell(tree: dict[str, Any]) -> None:
    tree["cells"]["reduction"]["candidates"][3][1] = "skip_conect"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (set_skeleton, "skeleton: unknown 'dart'; did you mean 'darts'"),
        (drop_cell, r"cells: must be normal and reduction \(got normal\)"),
        (drop_edge, "cells.normal.candidates: must list equally many candidates for each of 14 edges"),
        (drop_candidate, "cells.normal.candidates: must list equally many candidates for each of 14 edges"),
        (misspell, "cells.reduction.candidates: unknown operation 'skip_conect'; did you mean 'skip_connect'"),
    ],
)
def test_what_is_no_space_is_refused(spoil: Callable[[dict[str, Any]], None], message: str) -> None:
    tree = SpaceRecord.of(DARTS).model_dump(mode="json", by_alias=True)
    spoil(tree)
    with pytest.raises(ValidationError, match=message):
        SpaceRecord.model_validate_json(json.dumps(tree))
