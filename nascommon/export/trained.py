"""A retrained network with what it needs to be used: how pictures become its input, its classes, its origin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nascommon.data.fitting import RESIZE_OVER_CROP
from nascommon.export.plain import Classifier, Resize
from nascommon.runtime.records import read_record
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype
from nascommon.space.network import Network
from nascommon.training.artefact import DESCRIPTION, SKIPPED, DeployableRecord, PicturesRecord, load_network

CPU = torch.device("cpu")
LICENCES = {
    "digits": "Optical Recognition of Handwritten Digits (Alpaydin, Kaynak; UCI): CC BY 4.0",
    "cifar10": "CIFAR-10 (Krizhevsky, 2009), pictures from the web: its authors state no licence",
    "cifar100": "CIFAR-100 (Krizhevsky, 2009), pictures from the web: its authors state no licence",
    "imagenet": "ImageNet (Deng et al., 2009): for non-commercial research and education, by its terms of access",
}
"""What is known of the terms of the training pictures, which may bind a network that has seen them."""


@dataclass(frozen=True)
class TrainedNetwork:
    """What ``retrain`` or ``transfer`` left.

    Attributes:
        network: on the CPU, in evaluation mode, computing in float32 whatever it was trained in.
        genotype: its architecture.
        record: what ``network.json`` says.
        stage: the one that trained it.
    """

    network: Network
    genotype: Genotype
    record: DeployableRecord
    stage: str

    @property
    def pictures(self) -> PicturesRecord:
        """What it was trained on."""
        return self.record.pictures

    @property
    def name(self) -> str:
        """Method, data and seed, such as ``da2s-digits-0``, and the stage where it is not ``retrain``."""
        told = self.record.provenance
        last = () if self.stage == "retrain" else (self.stage,)
        return "-".join(map(str, (told.get("method"), self.pictures.source, told.get("seed"), *last)))

    @property
    def held_out_accuracy(self) -> dict[str, Any] | None:
        """The accuracy after the last epoch on pictures that were held out, if any were, and how many they are."""
        metrics = self.record.metrics
        value = metrics.get("valid_accuracy")
        if value is None:
            return None
        return {"value": value, "on": "held-out training pictures", "n": metrics.get("valid_images")}

    @cached_property
    def classifier(self) -> Classifier:
        """The network that takes pictures as they are."""
        return Classifier(self.network, resize_of(self.pictures), self.pictures.mean, self.pictures.std).eval()

    def details(self, **more: Any) -> dict[str, Any]:
        """Return what every export says of itself, as JSON has it."""
        return {
            "name": self.name,
            "classes": list(self.pictures.classes),
            "genotype": self.genotype.to_json(),
            **more,
            "metrics": self.record.metrics,
            "pictures": self.pictures.model_dump(mode="json", exclude={"classes"}),
            "licence_of_data": LICENCES.get(self.pictures.source, "pictures of your own, whose licence you know"),
            "provenance": self.record.provenance,
        }


def resize_of(pictures: PicturesRecord) -> Resize:
    """Return what brings a picture to the size, as evaluation saw the test pictures."""
    size = (pictures.height, pictures.width)
    zoom = RESIZE_OVER_CROP if pictures.storage == "files" else 1
    return Resize(size, pictures.fit, (round(size[0] * zoom), round(size[1] * zoom)))


def load_trained(folder: Path, stage: str) -> TrainedNetwork:
    """Read what a stage has trained.

    Raises:
        UserError: it was left out, is missing, or does not fit together.
    """
    if (folder / SKIPPED).is_file():
        raise UserError(f"{folder}: {stage} was left out, so there is no network; see its section in params.yaml")
    if not (folder / DESCRIPTION).is_file():
        raise UserError(f"{folder / DESCRIPTION}: no such file, nothing is trained yet; run `dvc repro {stage}`")
    record = read_record(folder / DESCRIPTION, DeployableRecord, stage)
    network, genotype, _ = load_network(folder, CPU, stage)
    network.spec = replace(network.spec, precision="float32", auxiliary=False)
    network.auxiliary = None
    return TrainedNetwork(network.requires_grad_(False), genotype, record, stage)
