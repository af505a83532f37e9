"""Check: mistakes, the method's record, what would rerun, time and memory, before anything runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from nascommon.config import Params
from nascommon.pipeline.estimate import Estimate
from nascommon.pipeline.inventory import BANK, GIVEN, INVENTORY, banked, given, present
from nascommon.runtime.progress import duration
from nascommon.space.nasbench201 import NAME
from nascommon.truth.table import find_table, no_table, table_truth


def without_work(params: Params) -> dict[str, str]:
    """Return the stages that will have nothing to do, and the setting that says so."""
    found = {
        "transfer": ("transfer.data is null", params.transfer.data is None),
        "retrain": ("retrain.skip is true", params.retrain.skip),
    }
    return {stage: why for stage, (why, is_so) in found.items() if is_so}


def what_reruns(params: Path, idle: Mapping[str, str]) -> str:
    """Ask DVC which stages are out of date; of ``idle`` ones, as ``without_work`` returns them, it is said why."""
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
    if "kendall_tau" not in changed and BANK.is_file() and banked(params) != BANK.read_text(encoding="utf-8"):
        changed.append("kendall_tau and evaluate (the bank has changed)")
    changed = [f"{stage} (does nothing: {idle[stage]})" if stage in idle else stage for stage in changed]
    return f"{', '.join(changed)}, and what depends on them" if changed else "nothing: all stages are up to date"


def what_is_known(params: Params) -> dict[str, str]:
    """Say by which accuracies of others the result will be judged, or why by none, in a space that has been trained."""
    space, source = params.search.space, params.data.source
    data_set = find_table(space, source)
    if data_set is not None:
        return {"known truth": table_truth(data_set).protocol}
    return {"known truth": f"none; {no_table(source)}"} if space == NAME else {}


def estimate_in_words(line: Estimate) -> str:
    """Write an estimate as a person says it."""
    if line.trouble is not None:
        return f"does not fit: {line.trouble}"
    known = [duration(line.seconds)] * bool(line.seconds)
    known += [f"about {line.memory_mib:,.0f} MiB"] * bool(line.memory_mib)
    return f"{', '.join(known)} ({line.how})" if known else line.how
