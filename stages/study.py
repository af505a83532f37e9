"""Compare methods over seeds: queue what has not run, follow it, and write one ranked table."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nascommon.config import load_params
from nascommon.pipeline.experiments import put_back
from nascommon.pipeline.study import study
from nascommon.runtime.executor import PROCESSES
from nascommon.settings import UserError
from stages import INTERRUPTED
from stages.cli import PARAMS, ParamsFile, run_stage

Methods = Annotated[str, typer.Option(help='Names under methods in params.yaml, as "darts da2s random"; or all.')]
Seeds = Annotated[str, typer.Option(help='Seeds, as "0 1 2"; the same for every method, so that runs pair up.')]


def main(methods: Methods = "da2s darts random", seeds: Seeds = "0 1 2", params: ParamsFile = PARAMS) -> None:
    """Run every method with every seed in DVC's queue, and rank them in data/study/report.html, report.md, table.csv.

    Runs that have finished before, with these settings, this code and these pictures, are not run again: a seed or a
    method more costs its own runs alone. Stages that runs share, as prepare and baseline, come from DVC's cache.

    Where `executor` names Ray, it does the runs side by side, and they end with this command. Otherwise they are DVC's:
    after Ctrl-C, or in a closed terminal, runs go on by themselves. The same command follows them again, and continues
    from its checkpoints what was killed; `dvc queue stop --kill` ends them. --params names the preset of all runs.
    """
    put_back()
    loaded = load_params(params)
    try:
        failed = study(loaded, methods.replace(",", " ").split(), numbers(seeds))
    except KeyboardInterrupt:
        if loaded.executor != PROCESSES:
            raise
        print("\nstudy: runs go on; the same command follows them again, `dvc queue stop --kill` ends them")
        sys.exit(INTERRUPTED)
    if failed:
        raise UserError(f"failed, and the same command tries again: {'; '.join(failed)}")


def numbers(text: str) -> list[int]:
    """Return the whole numbers of a text.

    Raises:
        UserError: it holds anything else.
    """
    words = text.replace(",", " ").split()
    if wrong := [word for word in words if not word.isdecimal()]:
        raise UserError(f"--seeds: whole numbers from 0 on, as 0 1 2 (got {' '.join(wrong)})")
    return [int(word) for word in words]


if __name__ == "__main__":
    run_stage(main)
