"""The report says of what it is."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.result_rows import title_of
from tests.stages.project import SMOKE


def test_the_title_names_method_data_and_seed_and_a_space_that_is_not_the_papers() -> None:
    params = load_params(SMOKE)
    assert title_of(params) == "darts on digits, seed 0"
    other = params.changed({"search.space": "s4", "search.nodes": None, "seed": 2})
    assert title_of(other) == "darts in space s4 on digits, seed 2"
    given = params.changed({"discretize.genotype": "PDARTS"})
    assert title_of(given) == "PDARTS (given; beside a search by darts) on digits, seed 0"
