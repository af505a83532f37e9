"""Check params.yaml before anything runs: mistakes, the method's record, what would rerun, time and memory."""

from __future__ import annotations

from typing import Annotated

import typer

from nascommon.config import load_params
from nascommon.method import REGISTRY
from nascommon.pipeline.check import estimate_in_words, what_is_known, what_reruns, without_work
from nascommon.pipeline.estimate import estimates
from nascommon.pipeline.given import given_genotype
from nascommon.pipeline.protocol_check import rulings, to_text
from nascommon.pipeline.protocol_evidence import tracked_evidence
from nascommon.pipeline.run import prepare_device
from nascommon.pipeline.unprepared import check_sizes, complaints
from nascommon.report.methods import method_table, record
from nascommon.runtime.hardware import describe
from nascommon.runtime.progress import summary
from stages.cli import PARAMS, ParamsFile, run_stage

Table = Annotated[bool, typer.Option("--table", help="Print the table of all methods instead, as in the README.")]
Rules = Annotated[
    bool, typer.Option("--protocol", help="Judge what has run by rules of good practice instead, and say what to do.")
]
Estimating = Annotated[bool, typer.Option(help="Measure a few real steps of each stage for the estimate.")]


def main(
    params: ParamsFile = PARAMS, estimate: Estimating = True, table: Table = False, protocol: Rules = False
) -> None:
    """Say everything that is wrong with the params file and the folders it names, or print what it stands for.

    Prints the record of the selected method, which stages `dvc repro` would run, and per stage an estimate of time,
    from a few real steps of full size on this machine, and of peak memory, within 15 %. Changes nothing.
    """
    if table:
        print(method_table())
        return
    if protocol:
        print(to_text(rulings(tracked_evidence(load_params(params)))))
        return
    settings = load_params(params, look=complaints)
    given_genotype(settings)  # a cell of another space is told by its settings alone
    check_sizes(settings)
    device = prepare_device(settings)
    method = settings.method()
    print(f"{params}: no mistakes found")
    summary(f"method {settings.search.method}: {REGISTRY[settings.search.method].summary}", record(method), [])
    reruns = what_reruns(params, without_work(settings))
    summary("what `dvc repro` would run", {"stages": reruns, **what_is_known(settings)}, [])
    if estimate:
        rows = {line.stage: estimate_in_words(line) for line in estimates(settings, method, device)}
        summary(f"estimate for {describe(device)}", rows, [])


if __name__ == "__main__":
    run_stage(main)
