"""A genotype that is given in the place of the search's result is refused early, or retrained and named as such."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from nascommon.settings import UserError
from nascommon.space.genotype import format_cell
from nascommon.training.artefact import load_network
from tests.stages.project import Project


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["search", "discretize"])
def test_a_given_genotype_that_is_nowhere_is_refused_before_the_work(prepared: Project, stage: str) -> None:
    prepared.change(discretize__genotype="DARTS_V3")
    if stage == "discretize":
        prepared.change(discretize__genotype=None).stage("search")
        prepared.change(discretize__genotype="DARTS_V3")
    with pytest.raises(
        UserError,
        match=r"params.yaml: discretize.genotype: DARTS_V3: neither a file nor a published genotype",
    ):
        prepared.stage(stage)
    assert not (prepared.folder / f"data/{stage}").exists()


@pytest.mark.parametrize("stage", ["check", "search"])
def test_a_given_genotype_of_another_space_is_refused_before_the_work(prepared: Project, stage: str) -> None:
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    prepared.change(discretize__genotype=cell)
    with pytest.raises(UserError, match=r"params.yaml: discretize.genotype: .* is a genotype of nasbench201, and "):
        prepared.stage(stage)
    assert not (prepared.folder / "data/search").exists()


@pytest.mark.slow
def test_a_given_genotype_is_retrained_and_named_as_such(finished: Project) -> None:
    own = finished.json("data/discretize/genotype.json")
    gaps = finished.metrics("discretize")
    released = finished.folder / "found elsewhere.txt"
    pairs = "[('max_pool_3x3', 0), ('dil_conv_5x5', 1), ('skip_connect', 2), ('sep_conv_3x3', 0)]"
    released.write_text(f"genotype = Genotype({pairs}, range(2, 4), {pairs}, range(2, 4))\n", encoding="utf-8")
    finished.change(discretize__genotype=released.name)
    result = finished.stages("discretize", "retrain", "evaluate")
    assert "found elsewhere.txt will be retrained" in result
    network, genotype, _ = load_network(finished.folder / "data/retrain", torch.device("cpu"), "retrain")
    assert format_cell(genotype["normal"]) == "max_pool_3x3@0 dil_conv_5x5@1 | skip_connect@2 sep_conv_3x3@0"
    assert network.spec.cells == 3
    assert finished.json("data/discretize/genotype.json")["provenance"] == {"given": released.name}
    assert finished.json("data/discretize/discretize.json")["searched"]["normal"] == own["normal"]
    assert finished.metrics("discretize") == gaps
    report = (finished.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "The retrained architecture is found elsewhere.txt" in report
    assert "found elsewhere.txt, given and retrained" in report
    assert report.startswith("# found elsewhere.txt (given; beside a search by darts) on digits")
    (row,) = [line for line in report.splitlines() if line.startswith("| darts ")]
    assert row.rstrip("| ").count("%") == 0
    assert pd.read_csv(finished.folder / "data/evaluate/gaps.csv")["test accuracy"].isna().all()


def test_a_genotype_whose_file_is_called_like_a_row_of_the_table_is_taken_for_no_other(finished: Project) -> None:
    errors = ("test_error_percent", "linear_error_percent", "transfer_error_percent")
    before = [finished.metrics("evaluate")["evaluate"][name] for name in errors]
    assert len(set(before)) == 3
    tree = (finished.folder / "data/discretize/genotype.json").read_text(encoding="utf-8")
    (finished.folder / "linear, transferred.json").write_text(tree, encoding="utf-8")
    finished.change(discretize__genotype="linear, transferred.json").stage("evaluate")
    assert [finished.metrics("evaluate")["evaluate"][name] for name in errors] == before
