"""A report names the settings that are not the defaults."""

from __future__ import annotations

import json

import pytest

from nascommon.config import load_params
from nascommon.method import REGISTRY
from nascommon.pipeline.differing import differing
from tests.methods.smoke import smoke_settings
from tests.stages.project import ROOT


def test_settings_are_told_with_their_defaults_and_those_of_the_method_come_first() -> None:
    found = differing(load_params(ROOT / "params.yaml"))
    told = {one["key"]: (one["here"], one["default"]) for one in found}
    assert told["methods.da2s.epochs"] == ("20", "50")
    assert told["search.channels"] == ("4", "16")
    assert told["retrain.network.auxiliary"] == ("false", "true")
    assert not {"search.method", "methods.darts.epochs", "data.source"} & told.keys()
    assert "search.nodes" not in told, "4 are what the default, null, comes to"
    of_method = [one["key"].startswith("methods.") for one in found]
    assert of_method == sorted(of_method, reverse=True)


def test_other_nodes_than_the_spaces_own_are_told() -> None:
    found = differing(load_params(ROOT / "params.yaml").changed({"search.nodes": 3}))
    assert {"key": "search.nodes", "here": "3", "default": "null"} in found


def test_what_is_as_in_the_paper_is_not_told() -> None:
    params = load_params(ROOT / "presets" / "cifar10.yaml").changed({"search.method": "darts"})
    assert [one for one in differing(params) if one["key"].startswith(("methods.", "retrain.network"))] == []


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_settings_of_any_kind_are_told_lists_too(name: str) -> None:
    small = smoke_settings(name).model_dump(mode="json")
    usual = REGISTRY[name].settings().model_dump(mode="json")
    params = load_params(ROOT / "params.yaml").changed({"search.method": name, f"methods.{name}": small})
    told = {one["key"] for one in differing(params)}
    assert {
        f"methods.{name}.{key}" for key in small if small[key] != usual[key] and not isinstance(small[key], dict)
    } <= told


def test_a_section_that_one_side_lacks_is_told_as_a_whole() -> None:
    changes = {
        "search.method": "darts",
        "methods.darts.arch_gradient": {"kind": "unrolled", "radius": 0.02},
        "kendall_tau.deep_network": None,
    }
    found = differing(load_params(ROOT / "params.yaml").changed(changes))
    told = {one["key"]: (one["here"], one["default"]) for one in found}
    assert told["methods.darts.arch_gradient"] == ('{"kind": "unrolled", "radius": 0.02}', '{"kind": "first_order"}')
    here, default = told["kendall_tau.deep_network"]
    assert here == "null"
    assert json.loads(default)["cells"] == 20
    entropy = load_params(ROOT / "params.yaml").changed(
        {"search.method": "custom", "methods.custom.penalty.entropy": {}}
    )
    assert "methods.custom.penalty.entropy" in {one["key"] for one in differing(entropy)}


def test_pictures_of_the_transfer_are_told_as_those_of_the_search_are() -> None:
    params = load_params(ROOT / "params.yaml")
    told = {one["key"]: (one["here"], one["default"]) for one in differing(params)}
    assert told["transfer.data.workers"] == ("2", "4")
    assert told["transfer.data.augment.flip"] == ("false", "true")
    assert "transfer.data.source" not in told, "it has no default"
    assert not any(one["key"].startswith("transfer.data") for one in differing(params.changed({"transfer.data": None})))
