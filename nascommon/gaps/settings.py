"""The sections of ``params.yaml`` whose stages measure and judge."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from nascommon.settings import BatchSize, Count, Settings, Whole
from nascommon.training.settings import NetworkSettings, TrainingSettings

FEWEST_TO_RANK, MOST_TO_RANK = 3, 5000


class DiscretizeSettings(Settings):
    """The section ``discretize``."""

    calibration_batches: Count = 50
    """Training batches on which batch-norm statistics are measured anew before a part of the supernet is scored."""
    batch_size: BatchSize = 64
    """Images of such a batch, and images scored at a time: a GPU takes more, and ``search.pieces`` take less."""
    genotype: str | None = None
    """Retrained instead of what the search found: a published name, such as DARTS_V2, or a file that holds a genotype,
    ours or as a released code prints it. The gaps are measured of the search's own genotype all the same;
    ``search.method: random`` with ``methods.random.epochs: 0`` leaves the search out."""
    worth_images: Whole = 2000
    """Images of the architecture half on which each candidate is removed in turn, for the operation gap; 0 skips it."""


class KendallSettings(Settings):
    """The section ``kendall_tau``: do search scores rank architectures as retraining does?"""

    mode: Literal["single_run", "multi_run", "trajectory"] = "single_run"
    """Which architectures are ranked. single_run: those of this search. multi_run: the results of several searches that
    differ in the seed. trajectory: as single_run, and the same architectures scored by every snapshot of the search."""
    architectures: int = Field(default=10, ge=FEWEST_TO_RANK, le=1000)
    """Number of architectures; in multi_run, the number of searches, this one included."""
    source: Literal["epochs", "sampled"] = "epochs"
    """Origin of the architectures. epochs: the genotypes of the search's snapshots (10 epochs of one run in EC-DARTS'
    Figure 1). sampled: drawn from the final mixing weights."""
    search_score: Literal["supernet_val", "inherited_val"] = "inherited_val"
    """Score that the search gives. supernet_val: accuracy of the supernet with its mixing weights at that epoch.
    inherited_val: of the architecture alone with the supernet's weights, batch norm recalibrated."""
    calibration_batches: Count = 50
    truth: Literal["auto", "retrain", "bank", "table"] = "auto"
    """Accuracies that scores are compared with. table: those that are published for the whole space. bank: those of
    random architectures that were trained from scratch by the protocol of ``retrain``. retrain: the architectures of
    ``mode`` and ``source`` are trained now. auto: the first of table, bank and retrain that there is, where scores are
    inherited_val and the mode is not multi_run."""
    known_architectures: int = Field(default=500, ge=FEWEST_TO_RANK, le=MOST_TO_RANK)
    """Number of architectures, drawn uniformly from what a table or bank knows; all where it knows fewer."""
    known_by_epoch: int = Field(default=100, ge=0, le=MOST_TO_RANK)
    """The first so many of them are scored by every snapshot of the search too, all in trajectory; below 3 none are."""
    known_sampled: int = Field(default=100, ge=0, le=MOST_TO_RANK)
    """Number of different architectures drawn in proportion to the final mixing weights. Those that a table or bank
    knows are ranked by themselves, and their accuracies compared with those of the uniform draw; 0 draws none."""
    known_images: Count | None = None
    """Images of the architecture half that each of them is scored on, class-balanced; null takes all."""
    retest: bool = True
    """Retrain every architecture once more with another seed. How far two retrainings agree says how much of the order
    is noise; a perfect score, which has none of its own, reaches more, and that ceiling is reported beside it."""
    network: NetworkSettings = NetworkSettings(channels=16, cells=8, auxiliary=False)
    """Network of the search's depth and width: the search score is compared with it, which gives the structure gap."""
    deep_network: NetworkSettings | None = NetworkSettings(channels=16, cells=20, auxiliary=False)
    """Network at the depth of retraining, for the depth gap; null skips it."""
    training: TrainingSettings = TrainingSettings(epochs=25, drop_path=0.0)

    @property
    def knowable(self) -> bool:
        """Whether architectures of a table or bank can be scored: any of them, by the supernet of this search."""
        return self.search_score == "inherited_val" and self.mode != "multi_run"

    @model_validator(mode="after")
    def _combination(self) -> Self:
        if self.search_score == "supernet_val" and self.mode == "single_run" and self.source == "sampled":
            raise ValueError(
                "search_score: supernet_val is one number for all samples of a supernet and cannot rank them; "
                "use inherited_val, or source: epochs"
            )
        if self.truth in ("bank", "table") and not self.knowable:
            raise ValueError(
                f"truth: {self.truth} knows architectures that no other search has found, so it needs search_score: "
                f"inherited_val and mode: single_run or trajectory (got {self.search_score}, {self.mode})"
            )
        if self.search_score == "supernet_val" and self.mode == "trajectory":
            raise ValueError(
                "search_score: a trajectory scores every architecture by every snapshot; use inherited_val"
            )
        return self
