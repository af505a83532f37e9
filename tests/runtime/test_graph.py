"""What a stage depends on is what dvc.yaml says."""

from __future__ import annotations

from pathlib import Path

import pytest

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY
from nascommon.runtime.graph import CODE, code_of_all, code_version, dependencies, input_hashes
from nascommon.settings import UserError

GRAPH = """
stages:
  search:
    deps: [stages/search.py, nascommon/space, "nascommon/methods/${search.method}.py", data/prepared]
  retrain:
    deps: [stages/retrain.py]
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder of code with a graph."""
    root = tmp_path / "code"
    for name in ("stages/search.py", "stages/retrain.py", "nascommon/space/cell.py", "nascommon/methods/darts.py",
                 "nascommon/methods/gdas.py", "nascommon/report.py"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "dvc.yaml").write_text(GRAPH)
    return root


@pytest.mark.parametrize(
    ("changed", "searches", "retrains"),
    [
        ("nascommon/methods/gdas.py", False, False),
        ("nascommon/report.py", False, False),
        ("nascommon/methods/darts.py", True, False),
        ("nascommon/space/cell.py", True, False),
        ("stages/retrain.py", False, True),
    ],
)
def test_only_code_that_a_stage_depends_on_changes_its_version(
    code: Path, changed: str, searches: bool, retrains: bool
) -> None:
    before = [code_version(stage, "darts", code) for stage in ("search", "retrain")]
    code_version.cache_clear()
    (code / changed).write_text("# changed\n")
    after = [code_version(stage, "darts", code) for stage in ("search", "retrain")]
    assert [one != other for one, other in zip(before, after, strict=True)] == [searches, retrains]


@pytest.mark.parametrize(
    ("changed", "is_code"),
    [
        ("nascommon/methods/gdas.py", True),
        ("nascommon/report.py", True),
        ("dvc.yaml", True),
        ("params.yaml", False),
        ("dvc.lock", False),
        ("nascommon/__pycache__/report.pyc", False),
    ],
)
def test_settings_and_what_dvc_writes_are_not_the_code_of_all(code: Path, changed: str, is_code: bool) -> None:
    before = code_of_all(code)
    code_of_all.cache_clear()
    (code / changed).parent.mkdir(exist_ok=True)
    (code / changed).write_text("# changed\n")
    assert (code_of_all(code) != before) == is_code


def test_without_a_graph_a_stage_says_so(code: Path) -> None:
    (code / "dvc.yaml").unlink()
    with pytest.raises(UserError, match=r"dvc\.yaml: no such file"):
        code_version("search", "darts", code)


def test_every_stage_of_the_graph_has_a_version_for_every_method() -> None:
    versions = {code_version("search", method) for method in REGISTRY}
    assert len(versions) == len(REGISTRY)
    assert len({code_version("retrain", method) for method in REGISTRY}) == 1
    assert CODE.joinpath("dvc.yaml").is_file()


def test_inputs_are_known_by_the_content_of_every_file_but_the_images_that_the_manifest_knows(tmp_path: Path) -> None:
    for name in ("data/search/search.json", "data/search/snapshots/epoch_1.safetensors", "data/given.json",
                 "data/prepared/target/manifest.json", "data/prepared/target/split.json",
                 "data/prepared/target/train/samples.safetensors"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = input_hashes("discretize", "darts", tmp_path)
    assert "data/search/snapshots/epoch_1.safetensors" in before
    assert not any("train/" in name for name in before)
    (tmp_path / "data/search/search.json").write_text("other")
    after = input_hashes("discretize", "darts", tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"data/search/search.json"}


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data/given\.json: no such file; run `dvc repro`"):
        input_hashes("discretize", "darts", tmp_path)


def test_the_selected_method_alone_counts() -> None:
    found = dependencies("search", "gdas")
    assert "nascommon/methods/gdas.py" in found.code
    assert "methods.gdas" in found.keys


def test_no_stage_hashes_pictures_however_its_input_names_them(tmp_path: Path) -> None:
    """evaluate depends on whole prepared folders, which may hold a million pictures."""
    for path in dependencies("evaluate", "darts").inputs:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            (tmp_path / path).write_text("{}")
        else:
            (tmp_path / path).mkdir()
    for name in ("target", "transfer"):
        folder = tmp_path / "data/prepared" / name
        (folder / "manifest.json").write_text(name)
        for part in ("train", "test"):
            (folder / part / "cat").mkdir(parents=True)
            (folder / part / "cat/0.png").write_text("a picture")
    (tmp_path / "data/baseline/random_000").mkdir()
    (tmp_path / "data/baseline/random_000/network.safetensors").write_text("weights")
    hashed = input_hashes("evaluate", "darts", tmp_path)
    assert not [name for name in hashed if name.endswith(".png")]
    assert {"data/prepared/target/manifest.json", "data/baseline/random_000/network.safetensors"} <= set(hashed)
