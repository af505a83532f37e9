"""One smoke project is prepared, searched and finished once; every test works on a copy of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the networks of the tests are tiny

from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:  # imported where used: most tests need no stage, and stages are slow to import
    from tests.stages.project import Project


SLOW_SECONDS = 900
"""Limit for a slow test; a minute is what most of them take where nothing else runs."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Let the settings of pytest-timeout stand where it is not installed, as on a borrowed machine with a GPU."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds that a test may take")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker of pytest-timeout where the plugin is not installed."""
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout: seconds that the test may take")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests the time that they take on a machine that does much else."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


Make = Callable[[str, Callable[[Path], "Project"]], "Project"]


@pytest.fixture(scope="session")
def made_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what makes a project by its name in the first worker that asks for it; the others find it there."""
    from tests.stages.project import Project

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own

    def once(name: str, make: Callable[[Path], Project]) -> Project:
        folder = shared / f"smoke-{name}"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():  # made elsewhere, so what fails half-way is never taken for the whole
                make(tmp_path_factory.mktemp(name) / "project").folder.rename(folder)
        return Project(folder)

    return once


@pytest.fixture(scope="session")
def prepared_once(made_once: Make) -> Project:
    """The smoke preset after the stage prepare; not to be changed."""
    from tests.stages.project import new_project

    return made_once("prepared", lambda folder: new_project(folder).after("inventory", "prepare"))


@pytest.fixture(scope="session")
def searched_once(made_once: Make, prepared_once: Project) -> Project:
    """The smoke preset after search and discretize; not to be changed."""
    return made_once("searched", lambda folder: prepared_once.copy(folder).after("search", "discretize"))


@pytest.fixture(scope="session")
def finished_once(made_once: Make, searched_once: Project) -> Project:
    """The smoke preset after all stages; not to be changed."""
    later = ("retrain", "transfer", "kendall_tau", "baseline", "evaluate")
    return made_once("finished", lambda folder: searched_once.copy(folder).after(*later))


@pytest.fixture
def prepared(prepared_once: Project, tmp_path: Path) -> Project:
    """A prepared smoke project of the test's own."""
    return prepared_once.copy(tmp_path / "project")


@pytest.fixture
def searched(searched_once: Project, tmp_path: Path) -> Project:
    """A searched smoke project of the test's own."""
    return searched_once.copy(tmp_path / "project")


@pytest.fixture
def finished(finished_once: Project, tmp_path: Path) -> Project:
    """A finished smoke project of the test's own."""
    return finished_once.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def dvc() -> str:
    """The dvc command; skips where it is not installed."""
    found = shutil.which("dvc", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("dvc is not installed")
    return found
