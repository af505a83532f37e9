"""Facts of other people stay as they were measured or published, and say where they come from."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.oracles.rules import HERE, oracle

DIGESTS = {
    "facts": "7da313f00f75ad59",
    "genotypes": "eb20d7067c7a6dc8",
    "kendall_figure1": "a1306d4226f37bce",
    "published": "6ed7ae38b75c77d6",
    "random_null": "7f1e8d7aa5549154",
}
"""Digest of each file without its origin: whoever changes a fact has to say so here."""


def test_every_file_of_facts_is_listed() -> None:
    assert {path.stem for path in HERE.glob("*.json")} == set(DIGESTS)


@pytest.mark.parametrize("name", DIGESTS)
def test_facts_name_their_origin_and_do_not_change(name: str) -> None:
    facts = oracle(name)
    assert facts.pop("origin")
    assert hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16] == DIGESTS[name]
