"""Read, check and split the images of the search and of the transfer."""

from __future__ import annotations

import shutil
import time
from functools import partial

from nascommon.config import Params
from nascommon.data.preparing import prepare as prepare_folder
from nascommon.pipeline.paths import TARGET_DATA, TRANSFER_DATA
from nascommon.pipeline.run import KEY, write_seconds
from nascommon.runtime.artefacts import write_json
from nascommon.settings import UserError


def prepare(params: Params) -> None:
    """Write data/prepared: images, manifest with counts per class and content hash, and the seeded, stratified split.

    The training images fall into the half that trains network weights and the half that trains the architecture. Test
    images lie in a folder of their own that only the stage ``evaluate`` reads.
    """
    began = time.perf_counter()
    for key, folder, data in (
        ("data", TARGET_DATA, params.data),
        ("transfer.data", TRANSFER_DATA, params.transfer.data),
    ):
        if data is None:  # DVC wants every output, and minds empty folders: a set that nobody opens
            for name in ("train", "test"):
                shutil.rmtree(folder / name, ignore_errors=True)
            for name in ("manifest.json", "split.json", "settings.json", "train/skipped.json", "test/skipped.json"):
                write_json(folder / name, {"skipped": "transfer.data is null"})
            continue
        try:
            prepare_folder(data, params.seed, folder, partial(_report, key))
        except UserError as error:
            told = _of_section(key, str(error))
            raise UserError(f"{params.file}: {told}" if KEY.match(told) else f"{params.file}: {key}: {told}") from error
    write_seconds("prepare", time.perf_counter() - began)


def _report(key: str, line: str) -> None:
    """Print what is said of a set."""
    print(_of_section(key, line))


def _of_section(key: str, line: str) -> str:
    """Return a line with the section that the set comes from in place of ``data``."""
    return f"{key}{line[len('data') :]}" if line.startswith(("data:", "data.")) else line
