"""dvc.yaml speaks of what is there: stages, keys and dependencies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nascommon.method import REGISTRY
from nascommon.pipeline.run import MACHINE
from nascommon.settings import UserError
from tests.shipped import LEAST, PRESETS, ROOT, SHIPPED, loaded

STAGES = {"prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate"}
SCRIPTS = {"inventory", *STAGES}


def graph(method: str = "darts") -> dict[str, Any]:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("${search.method}", method)
    tree: dict[str, Any] = yaml.safe_load(text)
    tree["stages"]["inventory"]["params"] = []  # it always runs
    return tree


def within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def outputs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed]


def test_every_stage_of_the_graph_is_a_script_of_that_name() -> None:
    stages = graph()["stages"]
    assert set(stages) == SCRIPTS
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert f"stages/{name}.py" in stage["deps"]
        assert stage["desc"]


KEYS = sorted({key for stage in graph()["stages"].values() for key in stage["params"]})


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_dvc_watches_must_be_in_the_file(tmp_path: Path, key: str) -> None:
    tree = section = yaml.safe_load(LEAST)
    *way, last = key.split(".")
    for part in way:
        section = section[part]
    del section[last]
    with pytest.raises(UserError, match=rf"^\S+params\.yaml:\d+: {re.escape(key)}: is missing") as caught:
        loaded(tmp_path, json.dumps(tree, indent=1))
    if advice := re.search(r"DVC stops without it; write (.*) for the default$", str(caught.value)):
        section |= yaml.safe_load(advice[1])
        assert loaded(tmp_path, json.dumps(tree)) == loaded(tmp_path, LEAST)


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_every_key_that_dvc_watches_is_in_every_preset(preset: str) -> None:
    tree = yaml.safe_load(PRESETS[preset].read_text(encoding="utf-8"))
    stages = [stage for method in tree["methods"] for stage in graph(method)["stages"].items()]
    for name, stage in stages:
        for key in stage["params"]:
            section = tree
            for part in key.split("."):
                assert isinstance(section, dict), f"{name}: {key}"
                assert part in section, f"{name}: {key}"
                section = section[part]


@pytest.mark.parametrize("method", sorted(REGISTRY))
def test_every_dependency_is_a_source_or_the_output_of_another_stage(method: str) -> None:
    stages = graph(method)["stages"]
    made = {out: name for name, stage in stages.items() for out in outputs(stage)}
    for name, stage in stages.items():
        for path in stage["deps"]:
            if path.startswith("data/"):
                makers = {maker for out, maker in made.items() if within(path, out) or within(out, path)}
                assert makers, f"{name}: nobody makes {path}"
                assert name not in makers
            else:
                assert (ROOT / path).exists(), f"{name}: {path}"


def test_only_evaluate_depends_on_test_images() -> None:
    stages = graph()["stages"]
    tests = {out for out in outputs(stages["prepare"]) if out.endswith("/test")}
    assert tests == {"data/prepared/target/test", "data/prepared/transfer/test"}
    for name, stage in stages.items():
        reads = {test for test in tests for path in stage["deps"] if test == path or test.startswith(f"{path}/")}
        assert reads == (tests if name == "evaluate" else set()), name


def test_a_search_does_not_depend_on_the_settings_of_other_methods() -> None:
    for name, stage in graph("darts")["stages"].items():
        watched = [key for key in stage["params"] if key.startswith("methods")]
        assert set(watched) <= {"methods.darts"}, name
        code = {path for path in stage["deps"] if within(path, "nascommon/methods")}
        assert code <= {"nascommon/methods/darts.py"}, name


def test_what_does_not_change_numbers_reruns_nothing() -> None:
    for stage in graph()["stages"].values():
        assert not {*MACHINE} & set(stage["params"])


def test_only_prepare_and_the_report_watch_the_section_data() -> None:
    for name, stage in graph()["stages"].items():  # how pictures vary is in the manifest, so no key of it must be there
        watched = {key for key in stage["params"] if key.partition(".")[0] == "data"}
        assert watched == ({"data"} if name in {"prepare", "evaluate"} else set()), name
