"""The inventory follows the pictures of both sections, says nothing of anything else, and never fails on settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nascommon.pipeline.check import what_reruns
from nascommon.pipeline.inventory import GIVEN, INVENTORY, present
from nascommon.settings import UserError
from stages.inventory import main


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (2, 2), (len(name), 0, 0)).save(tmp_path / "pictures" / name / "0.bmp")


def counted(data: str, transfer: str = "null") -> Any:
    Path("params.yaml").write_text(f"data: {data}\ntransfer: {{data: {transfer}}}\n", encoding="utf-8")
    main(Path("params.yaml"))
    return json.loads(INVENTORY.read_text(encoding="utf-8"))


def test_folders_of_both_sections_are_counted_and_hashed_by_content() -> None:
    shutil.copytree("pictures", "same")
    found = counted("{source: image_folder, path: pictures}", "{source: imagenet, path: same}")
    assert found["data"] == found["transfer.data"]
    assert found["data"]["files"] == 2
    (Path("same") / "a" / "0.bmp").write_bytes(b"other")
    assert counted("{source: image_folder, path: same}")["data"]["sha256"] != found["data"]["sha256"]


@pytest.mark.parametrize(("source", "ending"), [("webdataset", "tar"), ("huggingface", "parquet")])
def test_of_files_with_many_pictures_those_count(source: str, ending: str) -> None:
    section = f"{{source: {source}, path: pictures}}"
    assert counted(section)["data"]["files"] == 0
    (Path("pictures") / f"train.{ending}").write_bytes(b"many")
    found = counted(section)["data"]
    assert found["files"] == 1
    (Path("pictures") / f"train.{ending}").write_bytes(b"others")
    assert counted(section)["data"]["sha256"] != found["sha256"]


def test_what_cannot_change_is_not_looked_at() -> None:
    assert counted("{source: digits}") == {"data": None, "transfer.data": None}
    assert counted("{source: cifar10, path: pictures}") == {"data": None, "transfer.data": None}


def test_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert counted('{source: image_folder, path: "~/pictures"}')["data"]["files"] == 2


@pytest.mark.parametrize(
    "section", ["null", "[]", "text", "{source: image_folder}", "{source: image_folder, path: [a]}",
                "{source: image_folder, path: nowhere}", f"{{source: image_folder, path: {'x' * 5000}}}",
                "{source: image_folder, path: ~nobody-of-that-name/x}", '{source: image_folder, path: "a\\0b"}']
)  # fmt: skip
def test_settings_that_are_wrong_are_left_to_prepare(section: str) -> None:
    assert counted(section)["data"] is None
    assert counted("{source: digits}", section)["transfer.data"] is None


def test_a_params_file_that_is_no_yaml_is_left_to_prepare() -> None:
    Path("params.yaml").write_text("data: [", encoding="utf-8")
    assert json.loads(present(Path("params.yaml"))) == {"data": None, "transfer.data": None}


def test_a_method_that_is_not_there_is_named_before_dvc_misses_its_file() -> None:
    text = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("  method: da2s", "  method: dart"), encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml:\d+: search\.method: unknown method; did you mean 'darts'\?"):
        main(Path("params.yaml"))
    Path("params.yaml").write_text(text, encoding="utf-8")
    main(Path("params.yaml"))


def test_it_starts_without_what_is_slow_to_import() -> None:
    code = "import sys, stages.inventory; print([name for name in ('torch', 'pandas', 'rich') if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("status", "told"), [
    ({}, "nothing: all stages are up to date"),
    ({"inventory": ["always changed"]}, "nothing: all stages are up to date"),
    ({"inventory": ["always changed"], "search": [{"changed deps": {}}]}, "search, and what depends on them"),
])  # fmt: skip
def test_check_says_what_will_rerun_and_looks_at_the_pictures(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], told: str
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=json.dumps(status), stderr="")
    monkeypatch.setattr("nascommon.pipeline.check.shutil.which", lambda name: name)
    counted("{source: image_folder, path: pictures}")
    monkeypatch.setattr("nascommon.pipeline.check.subprocess.run", lambda *words, **options: done)
    assert what_reruns(Path("params.yaml"), {}) == told
    because = told.replace("search,", "search (does nothing: epochs is 0),")
    assert what_reruns(Path("params.yaml"), {"search": "epochs is 0", "transfer": "data is null"}) == because
    Path("pictures/a/0.bmp").write_bytes(b"other")
    assert what_reruns(Path("params.yaml"), {}).startswith("prepare (the pictures have changed)")


def test_the_file_of_a_given_genotype_is_seen_by_its_content() -> None:
    def hashed(genotype: str) -> Any:
        Path("params.yaml").write_text(f"discretize: {{genotype: {genotype}}}\n", encoding="utf-8")
        main(Path("params.yaml"))
        return json.loads(GIVEN.read_text(encoding="utf-8"))["discretize.genotype"]

    Path("found.txt").write_text("Genotype(a)", encoding="utf-8")
    first = hashed("found.txt")
    assert first == hashed("./found.txt")
    Path("found.txt").write_text("Genotype(b)", encoding="utf-8")
    assert hashed("found.txt") not in (first, None)
    assert hashed("DARTS_V2") is hashed("null") is hashed("pictures") is hashed("nowhere.txt") is None
