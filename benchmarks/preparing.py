"""Time and memory of `prepare` over the number of files, in a folder like ImageNet's of hard links of a few pictures.

    python -m benchmarks.preparing FOLDER --counts 5000,10000,20000 --out preparing.json

Every count is a process of its own, so that its peak is its own. Links share their pictures, which are read from the
cache of the system: a slow disk comes on top. The inventory finds nothing noted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from nascommon.data.inventory import inventory
from nascommon.data.preparing import prepare
from nascommon.data.settings import DataSettings
from nascommon.data.walk import files_below, is_picture
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.hardware import describe, peak_memory_bytes
from nascommon.runtime.revision import revision

CLASSES = 100
VALIDATION = 26
"""ImageNet has one picture to validate for so many to train on."""
CPU = torch.device("cpu")


def lay_out(pictures: list[Path], folder: Path, count: int) -> None:
    """Make train/ and val/ with a folder per class of ``count`` hard links in all."""
    for index in range(count):
        part = "train" if index % VALIDATION else "val"
        number, label = divmod(index // VALIDATION if part == "val" else index, CLASSES)
        place = folder / part / f"n{label:08d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(pictures[index % len(pictures)], place / f"n{label:08d}_{number:07d}.JPEG")


def stages(folder: Path, verify: str) -> dict[str, dict[str, float]]:
    """Return clock and CPU seconds, and the peak of this process in bytes, of the inventory and then of ``prepare``."""
    settings = DataSettings.model_validate({
        "source": "imagenet", "path": str(folder), "size": 224, "channels": 3, "verify": verify, "workers": 0,
        "search_fraction": 0.125, "architecture_fraction": 0.2,
    })  # fmt: skip
    found = {"start": {"peak_bytes": float(peak_memory_bytes(CPU))}}
    works: dict[str, Callable[[], object]] = {
        "inventory": lambda: inventory(folder),
        "prepare": lambda: prepare(settings, 0, folder / "prepared", lambda _line: None),
    }
    for name, work in works.items():
        started, busy = time.perf_counter(), sum(os.times()[:4])
        work()
        found[name] = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": sum(os.times()[:4]) - busy,
            "peak_bytes": float(peak_memory_bytes(CPU)),
        }
    return found


def main(
    folder: Annotated[Path, typer.Argument(help="folder of pictures, on a disk that takes hard links")],
    counts: Annotated[str, typer.Option(help="numbers of files")] = "5000,10000,20000",
    verify: Annotated[str, typer.Option(help="decode or headers")] = "decode",
    out: Annotated[Path | None, typer.Option(help="JSON file")] = None,
    laid: Annotated[
        Path | None, typer.Option(help="folder that is laid out already; measures it and prints JSON")
    ] = None,
) -> None:
    """Measure what a file costs, and whether memory grows."""
    if laid is not None:
        typer.echo(json.dumps(stages(laid, verify)))
        return
    pictures = [folder / name for name in files_below(folder) if is_picture(name)]
    rows = []
    for count in map(int, counts.split(",")):
        with tempfile.TemporaryDirectory(dir=folder.parent) as room:
            lay_out(pictures, Path(room) / "imagenet", count)
            again = [sys.executable, "-m", "benchmarks.preparing", str(folder), "--laid", f"{room}/imagenet"]
            done = subprocess.run(
                [*again, "--verify", verify],
                env={**os.environ, "XDG_CACHE_HOME": f"{room}/cache"}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            rows.append({"files": count, "verify": verify, **json.loads(done.stdout.splitlines()[-1])})
        typer.echo(json.dumps(rows[-1]))
    if out is not None:
        certificate = {"commit": str(revision(Path(__file__).parent)), "machine": describe(CPU)}
        write_json(
            out, {"command": f"python -m benchmarks.preparing FOLDER --counts {counts}", **certificate, "rows": rows}
        )


if __name__ == "__main__":
    typer.run(main)
