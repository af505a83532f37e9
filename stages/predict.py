"""Predict: give pictures to the retrained network as they are."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nascommon.pipeline.predict import Trainer, predict
from nascommon.settings import UserError
from stages.cli import run_stage


def main(
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURE", help="Picture files, and folders of them.", show_default=False)
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes to name of each picture, the likeliest first.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    stage: Annotated[
        Trainer, typer.Option(help="Whose network: retrain's, or transfer's ImageNet network.")
    ] = "retrain",
) -> None:
    """Name the class of pictures of any size by the network in data/retrain, one line for each picture.

    They are turned upright, laid over white where they are transparent, and resized as those that the network was
    trained on. A file that cannot be read is named on a line of its own, the others are answered all the same, and the
    status is 2. Which network answers, and how good it is, is said first, on standard error.
    """
    broken, answers = 0, []
    for answer in predict(pictures, top, stage):
        broken += bool(answer.error)
        if as_json:
            answers.append(answer.as_json())
        else:
            print(answer)
    if as_json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    if broken:
        raise UserError(f"{broken} of the pictures could not be read; the others are answered above")


if __name__ == "__main__":
    run_stage(main)
