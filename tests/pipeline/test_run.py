"""What a stage is known by: the same for what gives the same numbers, another for what does not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from nascommon.config import load_params
from nascommon.pipeline.run import naming, stage_run, tracked_run
from nascommon.runtime.graph import code_of_all
from nascommon.settings import UserError
from tests.stages.project import SMOKE, Project


def fingerprint(project: Project, **changes: str) -> str:
    """Return by what the unfinished work of a search is known."""
    project.change(**changes)
    with (
        contextlib.chdir(project.folder),
        stage_run("search", load_params(Path("params.yaml"))) as run,
    ):
        return run.checkpoints.fingerprint


def test_a_tracked_run_names_its_code_by_content_whatever_its_settings() -> None:
    params = load_params(SMOKE)
    tags = [
        tracked_run("evaluate", settings, torch.device("cpu"), "f00d").tags
        for settings in (params, params.changed({"search.method": "random"}))
    ]
    assert [tag["code"] for tag in tags] == [code_of_all()] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"retrain__network__stem": "imagenet"},
        {"kendall_tau__network__stem": "imagenet"},
        {"kendall_tau__deep_network__stem": "imagenet"},
        {"search__method": "pcdarts", "methods__pcdarts__stem": "imagenet"},
    ],
    ids=str,
)
def test_pictures_whose_size_is_left_to_them_are_refused_before_the_search(
    prepared: Project, change: dict[str, str]
) -> None:
    prepared.change(**change)
    said = "error: params.yaml: data.size: images of 8 x 8 do not fit the imagenet stem, which needs a multiple of 32 "
    for command in (("check", "--no-estimate"), ("search",)):
        result = prepared.command(*command)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith(said)
        assert len(result.err.splitlines()) == 1


def test_a_complaint_about_a_setting_names_the_file_and_one_about_anything_else_stays_as_it_is() -> None:
    said = ["kendall_tau.source: too few", "threads: too many", "data/search: no such file", "net.json: data.size: 3"]
    with pytest.raises(UserError) as caught, naming(Path("my.yaml")):
        raise UserError(*said)
    assert list(caught.value.args) == [f"my.yaml: {said[0]}", f"my.yaml: {said[1]}", *said[2:]]


def test_work_belongs_to_the_precision_that_it_is_computed_in_whatever_the_setting_says(prepared: Project) -> None:
    """A checkpoint of a GPU, where auto is bfloat16, is not gone on with in float32 on a CPU."""
    auto, float32, bfloat16 = (fingerprint(prepared, precision=name) for name in ("auto", "float32", "bfloat16"))
    assert auto == float32 != bfloat16


def test_work_does_not_belong_to_a_machine(prepared: Project) -> None:
    assert fingerprint(prepared, tracking="none", jobs="auto") == fingerprint(prepared, jobs="auto", device="auto")
