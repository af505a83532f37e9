"""Inspect: what the network of a genotype costs, and what its cells look like."""

from __future__ import annotations

import json
from pathlib import Path

from nascommon.cost.complexity import network_complexity
from nascommon.report.drawing import save_drawing
from nascommon.report.known_truth import cell_lines
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import format_cell
from nascommon.space.nasbench201 import NAME
from nascommon.space.network import NetworkSpec, check_image_size
from nascommon.space.skeleton import SKELETONS
from nascommon.space.stem import Stem
from nascommon.truth.judgement import judge
from nascommon.truth.table import load_table

CLASSES = {"cifar": 10, "imagenet": 1000}
SIDES = {"cifar": 32, "imagenet": 224}


def network_spec(
    name: str, stem: Stem, channels: int | None, cells: int | None, classes: int, image_channels: int
) -> NetworkSpec:
    """Return the size of a genotype's network; what is None is as in the networks that are published of its space.

    Raises:
        UserError: there is no such genotype, or no such network of its space.
    """
    skeleton = SKELETONS[find_genotype(name).skeleton]
    spec = NetworkSpec(channels or skeleton.channels, cells or skeleton.cells, classes, stem, image_channels)
    for misfit in skeleton.misfits(spec.cells, stem):
        raise UserError(f"--{misfit}")
    if stem == "imagenet" and spec.channels % 2:
        raise UserError(f"--channels: the imagenet stem halves them; give an even number (got {spec.channels})")
    return spec


def inspect(name: str, spec: NetworkSpec, side: int, *, as_json: bool = False, draw: Path | None = None) -> str:
    """Return parameters, multiply-adds and paper_flops of a genotype's network as text, and draw its cells.

    Of a cell that a table knows it says the accuracies, the rank, and how the cells of the same graph came out.

    Args:
        name: a published genotype, a string of NAS-Bench-201, or a file that holds one.
        spec: the size of the network.
        side: pixels, of square images.
        as_json: write what is counted and known as JSON, without the cells.
        draw: a .svg or .png file to draw to.

    Raises:
        UserError: there is no such genotype, or sizes or the file's name do not fit.
    """
    genotype = find_genotype(name)
    check_image_size(side, side, spec.stem, "--size")
    counts = network_complexity(genotype, spec, side, side).as_dict()
    truth = judge(load_table(), genotype, "cifar10") if genotype.skeleton == NAME else None
    if draw is not None:
        if draw.suffix not in (".svg", ".png"):
            raise UserError(f"--draw: the file must end in .svg or .png (got {draw})")
        save_drawing(genotype, draw, Path(name).stem)
    if as_json:
        return json.dumps(counts if truth is None else {**counts, "truth": truth}, indent=2)
    cells = [f"{kind:<10} {format_cell(cell)}" for kind, cell in genotype.items()]
    counted = (f"{count:<22} {value:>16,}" for count, value in counts.items())
    return "\n".join([*cells, *counted, *cell_lines(truth)])
