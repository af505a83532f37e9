"""docs/add-a-method.md, followed word for word: one file of code and one section of params.yaml, and it runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.stages.project import ROOT, SMOKE, Project

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

PAGE = ROOT / "docs" / "add-a-method.md"
CODE = "nascommon/methods/mine.py"
OVER_THE_REGISTRY = "mine or registry or readme or rows or every_file or watches_is_in_every_preset"
"""Tests of the method by name, and those that ask all methods at once."""
WRITTEN = {"data", ".checkpoints"}
"""Folders that stages write to."""


def block(language: str) -> str:
    """Return the page's only block in that language."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, language
    return textwrap.dedent(found[0])


SECTION = block("yaml").removeprefix("methods:\n")
"""What the page adds under ``methods``."""


def contents(folder: Path) -> dict[str, str]:
    """Return the hashes of all files but those that stages and Python leave."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in WRITTEN and "__pycache__" not in path.parts
    }


def run(folder: Path, *words: str, timeout: float = 100) -> str:
    """Run Python with the copy's own sources; return what it printed."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=Project.environment(folder),
        capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, prepared_once: Project) -> Path:
    """A copy of the sources after steps 1 and 2 of the page, its images prepared."""
    folder = tmp_path_factory.mktemp("add-a-method") / "project"
    for name in ("nascommon", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(prepared_once.folder / "data", folder / "data")
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = folder / "params.yaml"
    shutil.copy(SMOKE, params)
    before = contents(folder)

    (folder / CODE).write_text(block("python"), encoding="utf-8")
    section = SECTION.replace("epochs: 12, batch_size: 96", "epochs: 3, batch_size: 40")
    preset = SMOKE.read_text(encoding="utf-8").replace("method: darts", "method: mine")
    params.write_text(preset.replace("methods:\n", f"methods:\n{section}"), encoding="utf-8")

    after = contents(folder)
    assert {name for name in after if after[name] != before.get(name)} == {CODE, "params.yaml"}
    assert set(before) <= set(after)
    return folder


def test_the_page_fits_on_one(project: Path) -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) < 90
    assert (project / CODE).is_file()


def test_the_code_of_the_page_keeps_our_style(project: Path) -> None:
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    run(project, "-m", "ruff", "check", *config, CODE)
    run(project, "-m", "ruff", "format", "--check", *config, CODE)


def test_check_prints_its_record(project: Path) -> None:
    output = run(project, "-m", "stages.check", "--no-estimate")
    assert "no mistakes found" in output
    assert "method mine" in output


def test_its_settings_are_checked_like_all_others(project: Path) -> None:
    program = "from pathlib import Path; from nascommon.config import load_params; load_params(Path('wrong.yaml'))"
    wrong = (project / "params.yaml").read_text(encoding="utf-8").replace("mine: {epochs", "mine: {sharpest: 0, epochs")
    (project / "wrong.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"wrong.yaml:\d+: methods.mine.sharpest: must be greater than 0"):
        run(project, "-c", program)
    (project / "wrong.yaml").unlink()


def test_the_tests_over_the_registry_cover_it_without_a_second_list(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In a checkout with that file and that section and nothing else, the tests that ask every method pass."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "data", "mlruns", "*.db")
    shutil.copytree(ROOT, folder, ignore=lambda where, names: leave_out(where, names) if where == str(ROOT) else set())
    shutil.copy(project / CODE, folder / CODE)
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(re.sub(r"(?m)^methods:.*\n", rf"methods:\n{SECTION}", params), encoding="utf-8")
    asked = ("tests/methods", "tests/test_method.py", "tests/test_config.py", "tests/test_presets.py",
             "tests/graph/test_dvc_yaml.py", "tests/test_experiments.py",
             "tests/report/test_methods.py", "tests/search/test_planted.py", "tests/graph/test_closure.py")  # fmt: skip
    options = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", "-k", OVER_THE_REGISTRY)
    said = run(folder, "-m", "pytest", *options, *asked, timeout=280)
    assert re.search(r"\d+ passed", said)
    assert "failed" not in said


def test_it_searches_and_gives_a_genotype(project: Path) -> None:
    before = contents(project)
    program = (
        "import sys; from pathlib import Path; from stages import search, discretize;"
        "[stage.main(params=Path('params.yaml')) for stage in (search, discretize)]"
    )
    run(project, "-c", program)
    genotype: Any = json.loads((project / "data/discretize/genotype.json").read_text(encoding="utf-8"))
    assert genotype
    metrics: Any = json.loads((project / "data/metrics/search.json").read_text(encoding="utf-8"))
    assert 0 <= metrics["valid_accuracy"] <= 1
    assert contents(project) == before
