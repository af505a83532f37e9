"""The stages search, discretize and retrain in the space of NAS-Bench-201."""

from __future__ import annotations

import pytest

from nascommon.space.genotype import genotype_from_json
from nascommon.space.nasbench201_text import to_string
from tests.stages.project import Project

SPACE = {
    "search__space": "nasbench201", "search__nodes": None, "search__affine": True, "search__watch_every": 1,
    "retrain__network": {"channels": 4, "cells": 3, "auxiliary": False}, "transfer__data": None,
    "kendall_tau__network": {"channels": 4, "cells": 3, "auxiliary": False}, "kendall_tau__deep_network": None,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["darts", "pcdarts", "ecdarts"])
def test_a_cell_is_searched_cut_out_and_retrained(prepared: Project, method: str) -> None:
    prepared.change(**SPACE, search__method=method).stages("search", "discretize", "retrain")
    genotype = genotype_from_json(prepared.json("data/discretize/genotype.json"))
    assert len(to_string(genotype).split("+")) == 3
    assert prepared.json("data/metrics/discretize.json")["skips_cell"] == genotype.main.skips
    assert prepared.json("data/search/search.json")["final"]["affine"] is True
    assert prepared.json("data/retrain/network.json")["genotype"] == genotype.to_json()
    for drawing in ("discretize/genotype.svg", "search/weights_cell.png"):
        assert (prepared.folder / "data" / drawing).is_file()


@pytest.mark.slow
def test_a_string_of_the_benchmark_is_retrained_in_place_of_what_the_search_finds(prepared: Project) -> None:
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    prepared.change(**SPACE, search__method="random", discretize__genotype=text)
    prepared.stages("search", "discretize", "retrain")
    assert to_string(genotype_from_json(prepared.json("data/retrain/network.json")["genotype"])) == text
