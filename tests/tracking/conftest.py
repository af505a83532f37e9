"""Making an MLflow database takes ten seconds, so the tests share one."""

from __future__ import annotations

import logging

import pytest

from tests.tracking.store import LOGGER, Store, follow


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One database for all tests, because making it takes MLflow ten seconds."""
    pytest.importorskip("mlflow")
    root = tmp_path_factory.mktemp("tracked")
    with follow(root, "00", pipeline="00"):
        pass
    return Store(root)


@pytest.fixture(autouse=True)
def warnings_of_tracking(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOGGER)
