"""Inspect: what the network of a genotype costs, and what its cells look like."""

from __future__ import annotations

import json
from pathlib import Path

from nascommon.cost.complexity import network_complexity
from nascommon.report.drawing import save_drawing
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import format_cell
from nascommon.space.network import NetworkSpec, check_image_size

CLASSES = {"cifar": 10, "imagenet": 1000}
SIDES = {"cifar": 32, "imagenet": 224}


def inspect(name: str, spec: NetworkSpec, side: int, *, as_json: bool = False, draw: Path | None = None) -> str:
    """Return parameters, multiply-adds and paper_flops of a genotype's network as text, and draw its cells.

    Args:
        name: a published genotype, or a file that holds one.
        spec: the size of the network.
        side: pixels, of square images.
        as_json: write the counts as JSON, without the cells.
        draw: a .svg or .png file to draw to.

    Raises:
        UserError: there is no such genotype, or sizes or the file's name do not fit.
    """
    genotype = find_genotype(name)
    check_image_size(side, side, spec.stem, "--size")
    if spec.stem == "imagenet" and spec.channels % 2:
        raise UserError(f"--channels: the imagenet stem halves them; give an even number (got {spec.channels})")
    counts = network_complexity(genotype, spec, side, side).as_dict()
    if draw is not None:
        if draw.suffix not in (".svg", ".png"):
            raise UserError(f"--draw: the file must end in .svg or .png (got {draw})")
        save_drawing(genotype, draw, Path(name).stem)
    if as_json:
        return json.dumps(counts, indent=2)
    cells = [f"{kind:<10} {format_cell(cell)}" for kind, cell in genotype.items()]
    return "\n".join([*cells, *(f"{count:<22} {value:>16,}" for count, value in counts.items())])
