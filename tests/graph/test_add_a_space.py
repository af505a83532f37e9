"""docs/add-a-space.md: a space of one kind of cell with one input is registered, and everything runs in it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import load_params
from nascommon.pipeline.inspect import inspect
from nascommon.report.drawing import cell_graph
from nascommon.space.genotype import genotype_from_json
from nascommon.space.network import NetworkSpec
from nascommon.space.operations import OPERATIONS
from nascommon.space.skeleton import SKELETONS
from nascommon.space.space import SPACES, Space
from tests.stages.project import ROOT, Project

PAGE = ROOT / "docs" / "add-a-space.md"
REGISTRIES: tuple[dict[str, Any], ...] = (OPERATIONS, SKELETONS, SPACES)
DA2S_LIKE = {
    "relax": {"operations": "sharpened_softmax", "edges": "clipped_softmax"},
    "penalty": {"entropy": {}},
    "discretize": {"rank": "edge"},
    "phases": [{"epochs": 1, "keep": 2}, {"epochs": 1}],
    "batch_size": 40,
    "none": False,
}


@pytest.fixture
def chain() -> Iterator[Space]:
    """Return the space of the page, registered for a test."""
    before = [dict(registry) for registry in REGISTRIES]
    (code,) = re.findall(r"^ *```python\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(textwrap.dedent(code), PAGE.name, "exec"), {"__name__": "page"})
    yield SPACES["chain"]
    for registry, was in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(was)


def in_chain(project: Project, method: str, **more: Any) -> Project:
    project.change(search__space="chain", search__nodes=None, search__watch_every=1, search__method=method, **more)
    return project


def test_a_space_of_one_kind_and_one_input_is_data_alone(chain: Space) -> None:
    assert tuple(chain.cells) == ("cell",)
    assert chain.cells.main.topology.inputs == 1


@pytest.mark.parametrize(
    "method", ["darts", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ecdarts", "custom", "random"))]
)
def test_a_method_searches_it_and_its_gaps_are_measured(
    chain: Space, prepared: Project, tmp_path: Path, method: str
) -> None:
    in_chain(prepared, method, **({"methods__custom": DA2S_LIKE} if method == "custom" else {}))
    prepared.stages("search", "discretize")
    tree = prepared.json("data/discretize/genotype.json")
    genotype = genotype_from_json(tree)
    assert (tree["skeleton"], tuple(genotype)) == ("chain", ("cell",))
    assert {choice.operation for node in genotype.main.nodes for choice in node} <= set(chain.candidates.main[0])
    assert [len(node) for node in genotype.main.nodes] == [1, 2, 2]
    metrics = prepared.json("data/metrics/discretize.json")
    assert metrics["skips_cell"] == genotype.main.skips
    assert {"discretization_gap", "operation_gap_excess", "weight_loss_worth_tau"} <= set(metrics)
    drawn = cell_graph(genotype.main)
    assert drawn.names == ("0", "1", "2", "3", "out")
    assert (prepared.folder / "data/discretize/genotype.svg").is_file()
    assert (prepared.folder / "data/search/weights_cell.png").is_file()
    told = inspect(
        str(prepared.folder / "data/discretize/genotype.json"), NetworkSpec(4, 3), 8, draw=tmp_path / "c.svg"
    )
    assert re.search(r"^cell +\w+@0 \|", told, re.MULTILINE)


@pytest.mark.slow
def test_every_later_stage_runs_in_it(chain: Space, prepared: Project) -> None:
    in_chain(prepared, "darts", jobs=1)
    prepared.stages("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")
    assert "skip connections in the cell" in (prepared.folder / "data/evaluate/report.md").read_text("utf-8")
    for path in sorted((prepared.folder / "data/baseline").glob("random_*/network.json")):
        assert json.loads(path.read_text("utf-8"))["genotype"]["skeleton"] == chain.name


def test_a_genotype_of_another_skeleton_is_not_given_to_it(chain: Space, prepared: Project) -> None:
    in_chain(prepared, "darts", discretize__genotype="DARTS_V2")
    said = prepared.command("search")
    assert said.status == 2
    assert "discretize.genotype: DARTS_V2: is a genotype of darts, and search.space has those of chain" in said.err
    assert load_params(prepared.params).search.chosen_space() == chain
