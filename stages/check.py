"""Check params.yaml before anything runs: mistakes, the method's record, what would rerun, time and memory."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from nascommon.config import load_params
from nascommon.method import REGISTRY
from nascommon.pipeline.estimate import Estimate, estimates
from nascommon.pipeline.run import ParamsFile, prepare_device
from nascommon.pipeline.unprepared import complaints
from nascommon.report.methods import method_table, record
from nascommon.runtime.hardware import describe
from nascommon.runtime.progress import duration, summary
from stages.cli import run_stage
from stages.inventory import GIVEN, INVENTORY, given, present

Table = Annotated[bool, typer.Option("--table", help="Print the table of all methods instead, as in the README.")]
Estimating = Annotated[bool, typer.Option(help="Measure a few real steps of each stage for the estimate.")]


def main(params: ParamsFile = Path("params.yaml"), estimate: Estimating = True, table: Table = False) -> None:
    """Say everything that is wrong with the params file and the folders it names, or print what it stands for.

    Prints the record of the selected method, which stages `dvc repro` would run, and per stage an estimate of time,
    from a few real steps of full size on this machine, and of peak memory, within 15 %. Changes nothing.
    """
    if table:
        print(method_table())
        return
    settings = load_params(params, look=complaints)
    device = prepare_device(settings)
    method = settings.method()
    print(f"{params}: no mistakes found")
    summary(f"method {settings.search.method}: {REGISTRY[settings.search.method].summary}", record(method), [])
    summary("what `dvc repro` would run", {"stages": what_reruns(params)}, [])
    if estimate:
        rows = {line.stage: tell(line) for line in estimates(settings, method, device)}
        summary(f"estimate for {describe(device)}", rows, [])


def what_reruns(params: Path) -> str:
    """Ask DVC which stages are out of date."""
    if params.resolve() != Path("params.yaml").resolve():
        return "unknown: DVC looks at params.yaml only; copy the file there first"
    if shutil.which("dvc") is None:
        return "unknown: dvc is not installed or not on the PATH"
    asked = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    if asked.returncode:
        return f"unknown: dvc status failed ({asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else '?'})"
    # The inventory always runs; whether it will find something new is not for DVC to know.
    changed = [stage for stage, why in json.loads(asked.stdout).items() if why != ["always changed"]]
    if "prepare" not in changed and (
        not INVENTORY.is_file() or present(params) != INVENTORY.read_text(encoding="utf-8")
    ):
        changed.insert(0, "prepare (the pictures have changed)")
    if "discretize" not in changed and GIVEN.is_file() and given(params) != GIVEN.read_text(encoding="utf-8"):
        changed.append("discretize (the given genotype has changed)")
    return f"{', '.join(changed)}, and what depends on them" if changed else "nothing: all stages are up to date"


def tell(line: Estimate) -> str:
    """Write an estimate as a person says it."""
    if line.trouble is not None:
        return f"does not fit: {line.trouble}"
    memory = f", about {line.memory_mib:,.0f} MiB" if line.memory_mib else ""
    return f"{duration(line.seconds)}{memory} ({line.how})"


if __name__ == "__main__":
    run_stage(main)
