"""Kendall tau: does the search rank architectures as retraining does?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nascommon.config import load_params
from nascommon.pipeline.kendall_tau import analyse, kendall_tau
from stages.cli import PARAMS, ParamsFile, run_stage


def main(
    params: ParamsFile = PARAMS,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Analyse two columns of numbers of a CSV file instead: search score, retrain score. Its first row "
            "names the columns unless all its cells are numbers; lines that begin with # are left out."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --pairs: print JSON.")] = False,
) -> None:
    """Rank architectures by their search score and by their accuracy from scratch, and write data/kendall_tau.

    Where accuracies are known, from a table or a bank, nothing is trained; kendall_tau.truth says which. Otherwise each
    architecture is trained from scratch on the weight half with its own short annealed schedule and scored on the
    architecture half; the test set is not touched. Killed at any moment, the next run continues after the last
    finished epoch.
    """
    if pairs is not None:
        analyse(pairs, as_json=as_json)
        return
    kendall_tau(load_params(params))


if __name__ == "__main__":
    run_stage(main)
