"""Read, check and split the images of the search and of the transfer."""

from __future__ import annotations

import shutil
from pathlib import Path

from nascommon.config import load_params
from nascommon.data.preparing import prepare
from nascommon.pipeline.run import TARGET, TRANSFER, ParamsFile
from nascommon.runtime.artefacts import write_json
from nascommon.settings import UserError
from stages.cli import run_stage


def main(params: ParamsFile = Path("params.yaml")) -> None:
    """Write data/prepared: images, manifest with counts per class and content hash, and the seeded, stratified split.

    The training images fall into the half that trains network weights and the half that trains the architecture. Test
    images lie in a folder of their own that only the stage ``evaluate`` reads.
    """
    settings = load_params(params)
    for key, folder, data in (("data", TARGET, settings.data), ("transfer.data", TRANSFER, settings.transfer.data)):
        if data is None:  # DVC wants every output: an empty set that nobody opens
            for name in ("manifest.json", "split.json", "settings.json"):
                write_json(folder / name, {"skipped": "transfer.data is null"})
            for name in ("train", "test"):
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / name).mkdir(parents=True, exist_ok=True)
            continue
        try:
            prepare(data, settings.seed, folder)
        except UserError as error:
            raise UserError(f"{params}: section {key}: {error}") from error


if __name__ == "__main__":
    run_stage(main)
