"""Inspect a genotype: what its network costs, and what it looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from nascommon.cost.complexity import network_complexity
from nascommon.report.drawing import save_drawing
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import CELL_KINDS, format_cell
from nascommon.space.network import NetworkSpec, check_image_size
from stages.cli import run_stage

CLASSES = {"cifar": 10, "imagenet": 1000}
SIDES = {"cifar": 32, "imagenet": 224}


def main(
    genotype: Annotated[
        str,
        typer.Argument(
            help="A published name, such as DARTS_V2, or a file: ours, or a genotype as a released code prints it."
        ),
    ],
    channels: Annotated[int, typer.Option(min=2, max=4096, help="Of the first cell.")] = 36,
    cells: Annotated[int, typer.Option(min=1, max=1000, help="Depth.")] = 20,
    stem: Annotated[Literal["cifar", "imagenet"], typer.Option(help="Which network.")] = "cifar",
    classes: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="10 for cifar and 1000 for imagenet unless told.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Side of the images; 32 for cifar and 224 for imagenet unless told."),
    ] = None,
    image_channels: Annotated[int, typer.Option(min=1, max=4096, help="3 for colour.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    draw: Annotated[Path | None, typer.Option(help="Write a drawing to this .svg or .png file.")] = None,
) -> None:
    """Count parameters, multiply-adds and paper_flops of a genotype's network, and draw its cells."""
    found = find_genotype(genotype)
    side = size or SIDES[stem]
    check_image_size(side, side, stem, "--size")
    if stem == "imagenet" and channels % 2:
        raise UserError(f"--channels: the imagenet stem halves them; give an even number (got {channels})")
    spec = NetworkSpec(channels, cells, classes or CLASSES[stem], stem, image_channels)
    counts = network_complexity(found, spec, side, side).as_dict()
    if draw is not None:
        if draw.suffix not in (".svg", ".png"):
            raise UserError(f"--draw: the file must end in .svg or .png (got {draw})")
        save_drawing(found, draw, Path(genotype).stem)
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    for kind in CELL_KINDS:
        typer.echo(f"{kind:<10} {format_cell(found.cell(kind))}")
    for name, value in counts.items():
        typer.echo(f"{name:<22} {value:>16,}")


if __name__ == "__main__":
    run_stage(main)
