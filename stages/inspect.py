"""Inspect a genotype: what its network costs, and what it looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nascommon.pipeline.inspect import CLASSES, SIDES, inspect, network_spec
from stages.cli import run_stage


def main(
    genotype: Annotated[
        str,
        typer.Argument(
            help="A published name, such as DARTS_V2; a string of NAS-Bench-201, such as '|none~0|+...'; or a file: "
            "ours, or a genotype as a released code prints it."
        ),
    ],
    channels: Annotated[
        int | None, typer.Option(min=2, max=4096, help="Of the first cell; as published unless told (36, or 16).")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Depth; as published unless told (20, or 15).")
    ] = None,
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
    """Count parameters, multiply-adds and paper_flops of a genotype's network, and draw its cells.

    Of a cell of NAS-Bench-201 it says what the table knows: accuracies on three sets, ranks, cells of the same graph.
    """
    spec = network_spec(genotype, stem, channels, cells, classes or CLASSES[stem], image_channels)
    print(inspect(genotype, spec, size or SIDES[stem], as_json=as_json, draw=draw))


if __name__ == "__main__":
    run_stage(main)
