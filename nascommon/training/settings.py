"""Settings of a stand-alone network and its training; the defaults are DARTS' CIFAR-10 protocol."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.data.settings import DataSettings
from nascommon.parts.schedule import Schedule, cosine, exponential, linear, warmed_up
from nascommon.settings import (
    BatchSize,
    Cells,
    Channels,
    Epochs,
    Margin,
    NonNegative,
    Pieces,
    Positive,
    Probability,
    Settings,
    WeightDecay,
    Whole,
    check_pieces,
)
from nascommon.space.network import NetworkSpec
from nascommon.space.stem import Stem


class NetworkSettings(Settings):
    """Size of a stand-alone network."""

    channels: Channels = 36
    cells: Cells = 20
    auxiliary: bool = True
    """A second classifier on the output of cell 2 * cells // 3, in training only."""
    stem: Stem = "cifar"
    """``imagenet`` halves three times before the first cell, for images of 224 pixels."""
    auxiliary_second_norm: bool = True
    """Batch norm after the head's second convolution; false is what quark0/darts has on ImageNet."""

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.stem == "imagenet" and self.channels % 2:
            raise ValueError(f"channels: must be even, the ImageNet stem halves them (got {self.channels})")
        return self

    def spec(self, *, classes: int, image_channels: int) -> NetworkSpec:
        """Return the size of a network on data of so many classes and image channels."""
        return NetworkSpec(
            self.channels, self.cells, classes, self.stem, image_channels, self.auxiliary, self.auxiliary_second_norm
        )


class TrainingSettings(Settings):
    """SGD, one learning rate per epoch, cross entropy."""

    epochs: Epochs = 600
    batch_size: BatchSize = 96
    pieces: Pieces = 1
    """A batch is computed in so many pieces one after the other, which takes less memory; the gradient is that of the
    whole batch, but batch norm sees a piece at a time, so other numbers come out. Images that are watched are scored a
    piece at a time, too, which changes no score."""
    lr: Positive = 0.025
    schedule: Literal["cosine", "exponential", "linear"] = "cosine"
    """Learning rate over the epochs. cosine: from lr to lr_min. exponential: times gamma every epoch. linear: to 0,
    slower in the last 5 epochs."""
    lr_min: NonNegative = 0.0
    gamma: Probability = 0.97
    warmup_epochs: Whole = 0
    """First epochs in which the rate rises to lr in equal steps."""
    momentum: Probability = 0.9
    weight_decay: WeightDecay = 3e-4
    clip: Positive = 5.0
    """Largest norm of the gradient."""
    label_smoothing: Probability = 0.0
    auxiliary_weight: NonNegative = 0.4
    drop_path: Probability = 0.2
    """Probability in the last epoch; it rises linearly from 0."""
    cutout: Margin = 16
    """Side in pixels of the square cut out of every training image; 0 for none."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_pieces(self.pieces, self.batch_size)
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(f"warmup_epochs: must be less than epochs ({self.epochs}) (got {self.warmup_epochs})")
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min: must be at most lr ({self.lr}) (got {self.lr_min})")
        if self.drop_path == 1:
            raise ValueError("drop_path: must be less than 1, or nothing is left to train (got 1)")
        return self

    def learning_rate(self) -> Schedule:
        """Return the learning rate as a function of (epoch, epochs)."""
        schedule = {
            "cosine": cosine(self.lr, self.lr_min),
            "exponential": exponential(self.lr, self.gamma),
            "linear": linear(self.lr),
        }[self.schedule]
        return warmed_up(schedule, self.lr, self.warmup_epochs) if self.warmup_epochs else schedule


class FromScratchSettings(Settings):
    """One genotype from scratch: the network, its training, and what is watched meanwhile."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training images that are not trained on but watched every epoch; 0 in the papers' protocol."""


class RetrainSettings(FromScratchSettings):
    """The section ``retrain``: the genotype from scratch on the data of the search."""

    seeds: int = Field(default=1, ge=1, le=100)
    """Trainings of the genotype, each from a seed of its own. The network of the first is the result; figures are means
    with their standard deviation."""
    skip: bool = False
    """Train nothing: for a space whose architectures others have trained, or where the gaps of the supernet are all
    that is wanted. There are no random architectures to compare with then."""


class TransferSettings(FromScratchSettings):
    """The section ``transfer``: the genotype from scratch on larger images, with the ImageNet network."""

    data: DataSettings | None
    """Pictures of the transfer; null skips the stage."""
    network: NetworkSettings = NetworkSettings(channels=48, cells=14, stem="imagenet")

    @model_validator(mode="after")
    def _large_images(self) -> Self:
        if self.network.stem != "imagenet":
            raise ValueError(f"network.stem: must be imagenet, the transfer stage's network (got {self.network.stem})")
        return self


class BaselineSettings(Settings):
    """The section ``baseline``: random architectures of the same space, retrained like the winner."""

    architectures: int = Field(default=0, ge=0, le=1000)
    """Number of random architectures; 0 where the published distribution of 214 of them (papers' protocol) is the
    yardstick, or a bank of architectures that were trained before."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Trainings of each."""
    bank: str | None = None
    """A CSV file that the random architectures are added to when evaluate has tested them. It is made where there is
    none and holds one protocol; where it is that of ``retrain``, its architectures are compared with, and ranked by
    kendall_tau, as those that come with the package are."""
