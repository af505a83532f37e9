"""Predict: what the retrained network says to picture files, which need not be prepared in any way."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nascommon.data.fitting import evaluation_view, square_view
from nascommon.data.pictures import PICTURE_ADVICE, open_picture
from nascommon.data.samples import pixels_of
from nascommon.export.given import fault_of, pictures_in
from nascommon.export.trained import TrainedNetwork, load_trained, resize_of
from nascommon.pipeline.measured import in_words
from nascommon.pipeline.paths import RETRAIN, TRANSFER
from nascommon.runtime.hardware import resolve_device
from nascommon.settings import UserError, one_line
from nascommon.training.artefact import PicturesRecord

Trainer = Literal["retrain", "transfer"]
FOLDERS: dict[Trainer, Path] = {"retrain": RETRAIN, "transfer": TRANSFER}
AT_A_TIME = 64
"""Pictures that the network sees together."""


@dataclass(frozen=True)
class Answer:
    """What the network says to a picture, the likeliest class first, or why it says nothing."""

    picture: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        if self.error:
            return {"picture": self.picture, "error": self.error}
        answers = [{"class": name, "probability": probability} for name, probability in self.classes]
        return {"picture": self.picture, "answers": answers}

    def __str__(self) -> str:
        if self.error:
            return one_line(f"{self.picture}: {self.error}")
        return one_line(f"{self.picture}: " + ", ".join(f"{name} {share:.1%}" for name, share in self.classes))


def predict(paths: Sequence[str | Path], top: int, stage: Trainer = "retrain") -> Iterator[Answer]:
    """Say whose answers these are, and yield that to every picture, in order; of a folder those in it and below.

    Args:
        paths: picture files and folders.
        top: classes that an answer names at most.
        stage: the one that trained the network.

    Raises:
        UserError: there is no network, or there are only folders without pictures.
    """
    trained = load_trained(FOLDERS[stage], stage)
    device = resolve_device("auto")
    trained.classifier.to(device)
    try:
        files = pictures_in(paths)
    except ValueError as error:
        raise UserError(*error.args) from error
    print(f"by {trained.name}: {in_words(trained)}", file=sys.stderr)
    groups = (files[start : start + AT_A_TIME] for start in range(0, len(files), AT_A_TIME))
    return (answer for group in groups for answer in _answers(trained, group, top, device))


def _answers(
    trained: TrainedNetwork, files: Sequence[tuple[str, str]], top: int, device: torch.device
) -> Iterator[Answer]:
    seen = [fault or _seen(name, trained.pictures) for name, fault in files]
    good = [levels for levels in seen if isinstance(levels, Tensor)]
    with torch.no_grad():
        found = iter(trained.classifier.of_resized(torch.stack(good).to(device)).cpu() if good else ())
    for (name, _), levels in zip(files, seen, strict=True):
        if isinstance(levels, Tensor):
            yield Answer(name, ranked(next(found), trained.pictures.classes, top))
        else:
            yield Answer(name, error=levels)


def ranked(probabilities_K: Tensor, classes: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    """Return the likeliest classes with their probabilities."""
    best = probabilities_K.topk(min(top, len(classes)))
    return tuple((classes[at], share) for share, at in zip(best.values.tolist(), best.indices.tolist(), strict=True))


def _seen(name: str, told: PicturesRecord) -> Tensor | str:
    """Return the levels [C, H, W] that evaluation would see, or what is wrong with the file."""
    if fault := fault_of(name):
        return fault
    try:
        image = open_picture(Path(name), told.channels)
    except UserError as error:
        return str(error).removeprefix(one_line(f"{name}: ")).removesuffix(PICTURE_ADVICE)
    if told.height != told.width:  # pictures of one size, which were not resized
        resized: Tensor = resize_of(told)(pixels_of(image)[None].float())
        return resized[0]
    if told.storage == "memory":
        return pixels_of(square_view(image, told.height, told.fit)).float()
    return pixels_of(evaluation_view(image, told.height, told.fit)).float()
