"""The published genotypes that ship with the package are the published ones."""

from __future__ import annotations

from nascommon.space.genotype import genotype_from_json
from nascommon.space.published import PUBLISHED
from tests.oracles import rules


def test_every_published_genotype_is_there_with_every_operation_input_and_concat() -> None:
    assert {name: genotype_from_json(tree, name) for name, tree in rules.genotypes().items()} == PUBLISHED
