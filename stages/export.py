"""Export: the retrained network in a form that needs nothing of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nascommon.pipeline.export import Format, export
from nascommon.pipeline.predict import Trainer
from stages.cli import run_stage


def main(
    form: Annotated[Format, typer.Option("--format", help="What to write.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("exported"),
    stage: Annotated[Trainer, typer.Option(help="Which network; transfer's has the ImageNet stem.")] = "retrain",
) -> None:
    """Write the network in data/retrain with all that comes before and after it: pictures in, probabilities out.

    onnx: classifier.onnx, tried with onnxruntime. torch_export: classifier.pt2, for torch.export.load. python:
    classifier.py and classifier.safetensors, which need torch alone.

    Graphs take pictures uint8 [batch, channels, height, width] of any number and size; classifier.py takes any layout.
    Resizing, normalisation and softmax are inside, and so are the names of the classes, the genotype, the accuracy, the
    hash and the licence of the data. Each file is read again, tried on random pictures, and refused where a probability
    is more than 1e-4 from the network's own, or than float32 costs a network that is badly conditioned.
    """
    export(form, out, stage)


if __name__ == "__main__":
    run_stage(main)
