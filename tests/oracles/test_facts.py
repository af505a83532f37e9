"""The copies that the tests use say what the shared reference says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.rules import facts, genotypes

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the shared reference is not at hand")


def assert_within(part: Any, whole: Any, path: str = "") -> None:
    if not isinstance(part, dict):
        assert part == whole, path
        return
    for key, value in part.items():
        assert_within(value, whole[key], f"{path}/{key}")


def test_every_fact_is_that_of_the_shared_reference() -> None:
    assert_within(facts(), json.loads((REFERENCE / "oracles.json").read_text()))


def test_the_genotypes_are_those_of_the_shared_reference() -> None:
    assert genotypes() == json.loads((REFERENCE / "genotypes.json").read_text())
