"""Time, memory and operators of a step: ours beside a plain twin or beside the authors' own code.

    python -m benchmarks.steps
    python -m benchmarks.steps --quick --methods darts,pcdarts --cases search,ladder
    python -m benchmarks.steps --against path/to/checkout --json rows.json

``search`` is the whole bilevel step of each method, ``ladder`` the same step rung by rung between baseline and ours,
``retrain`` a training step of the stand-alone network, ``data`` an epoch of augmented batches. Every ratio is
baseline / ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import released
from benchmarks.cases import (
    LEARNING,
    REPLAYED,
    RUNGS,
    UNROLLED,
    Search,
    Sizes,
    data_ways,
    method_record,
    retrain_ways,
    search_ways,
)
from benchmarks.images import random_batch, random_halves
from benchmarks.released import Released
from benchmarks.timing import Case, Row, measure, table
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.hardware import choose_kernels, describe, resolve_device, tune
from nascommon.runtime.revision import revision
from nascommon.settings import UserError

CASES = ("search", "ladder", "retrain", "data")
LADDERS = ("darts", "pcdarts")
"""Methods whose ladder is climbed, where they are asked for."""
RETRAIN_BATCH = 96
REPEATS, QUICK_REPEATS = 7, 3
PICTURES, QUICK_PICTURES = 25_000, 4_000
"""Pictures of an epoch of the search on CIFAR-10, and few enough to be quick."""


@dataclass(frozen=True)
class Plan:
    """Choices of the command line."""

    cases: tuple[str, ...]
    methods: tuple[str, ...]
    sizes: Sizes
    authors: Released | None
    device: torch.device
    batch: int | None
    quick: bool

    def search_batch(self, name: str) -> int:
        """Return images in a search step: the papers' on a GPU, few on a CPU."""
        gpu, cpu = (256, 16) if name == "pcdarts" else (64, 16)
        return self.batch or (gpu if self.device.type == "cuda" else cpu // 4 if self.quick else cpu)

    def retrain_batch(self) -> int:
        """Return images in a training step of the stand-alone network."""
        few = 2 if self.quick else 8
        return self.batch or (RETRAIN_BATCH if self.device.type == "cuda" else few)


def planned(plan: Plan) -> Iterator[Case]:
    """List the cases; none is built before its turn."""
    for name in plan.methods:
        batch = plan.search_batch(name)
        halves = random_halves(batch, plan.device, plan.sizes.side)
        search = Search(method_record(name, plan.sizes), halves, plan.device, plan.sizes.nodes)
        if "search" in plan.cases:
            yield Case(f"search step, {name}", batch, search_ways(name, search, plan.authors))
        if "ladder" in plan.cases and name in LADDERS:
            rungs = [rung for rung in RUNGS if rung != REPLAYED or plan.device.type == "cuda"]
            yield Case(f"ladder, {name}", batch, search_ways(name, search, plan.authors, rungs))
    if "retrain" in plan.cases:
        batch = plan.retrain_batch()
        images = random_batch(batch, plan.device, plan.sizes.side)
        yield Case("retrain step", batch, retrain_ways(plan.sizes, images, plan.authors))
    if "data" in plan.cases:
        batch = plan.batch or 64
        ways = data_ways(plan.sizes, batch, plan.device, plan.authors)
        yield Case(f"data, epoch of {plan.sizes.pictures}", batch, ways, counted=False)


def chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Split a list at its commas.

    Raises:
        typer.BadParameter: a name is unknown.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(f"{option}: unknown {', '.join(unknown) or 'nothing'}; known are {', '.join(known)}")
    return names


def default_methods(authors: Released | None) -> str:
    """Return the methods of the checkout, or all."""
    if authors is None:
        return ",".join(["darts", UNROLLED, *(name for name in LEARNING if name != "darts")])
    return f"darts,{UNROLLED}" if authors.kind == "darts" else authors.kind


def opened(against: Path | None, device: str) -> tuple[Released | None, torch.device]:
    """Import the checkout and find the device.

    Raises:
        typer.BadParameter: one of them is not there.
    """
    try:
        where = resolve_device(device)
        tune(where)
        choose_kernels(where, math.inf)  # as in a long phase
        return None if against is None else released.load(against), where
    except (ValueError, ImportError, UserError) as error:
        raise typer.BadParameter(str(error)) from error


def main(
    against: Annotated[Path | None, typer.Option(help="Checkout of the released DARTS, PC-DARTS or P-DARTS.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated; default all, or the checkout's own.")] = None,
    cases: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(CASES),
    quick: Annotated[bool, typer.Option(help="Smaller batches and fewer repeats.")] = False,
    json: Annotated[Path | None, typer.Option(help="Where to write the rows.")] = None,
    device: str = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a step, in every case.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Pairs; default 7, with --quick 3.")] = None,
    channels: Annotated[int, typer.Option(help="Of the supernet.")] = 16,
    cells: Annotated[int, typer.Option(min=3, help="Of the supernet.")] = 8,
    nodes: Annotated[int, typer.Option(min=1, help="Of a cell; the released codes have 4.")] = 4,
    retrain_channels: int = 36,
    retrain_cells: int = 20,
    side: Annotated[int, typer.Option(help="Pixels.")] = 32,
    pictures: Annotated[int | None, typer.Option(help="In the epoch of the data case.")] = None,
) -> None:
    """Time steps in turns with those of a baseline; print a table and, on request, write rows as JSON."""
    authors, where = opened(against, device)
    count = pictures or (QUICK_PICTURES if quick else PICTURES)
    sizes = Sizes(channels, cells, retrain_channels, retrain_cells, side, count, nodes)
    known = ("darts", UNROLLED, *(name for name in LEARNING if name != "darts"))
    plan = Plan(
        chosen(cases, CASES, "--cases"), chosen(methods or default_methods(authors), known, "--methods"),
        sizes, authors, where, batch, quick,
    )  # fmt: skip
    typer.echo(f"{describe(where)}, torch {torch.__version__}, commit {revision(Path(__file__).parent)!s}")
    rows: list[Row] = []
    for case in planned(plan):
        rows += measure(case, repeats or (QUICK_REPEATS if quick else REPEATS), where)
        typer.echo(f"{case.name}: {rows[-1].ratio:.2f} times", err=True)
        if json is not None:
            write_json(json, [asdict(row) for row in rows])
    typer.echo(table(rows))


if __name__ == "__main__":
    typer.run(main)
