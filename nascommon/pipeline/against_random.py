"""The retrained architecture against random ones of its protocol: trained now, of a bank, or published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from nascommon.data.prepared import Manifest
from nascommon.pipeline.paths import BASELINE
from nascommon.pipeline.run import Run
from nascommon.pipeline.tested import Measured
from nascommon.pipeline.truths import own_bank, protocol_of
from nascommon.runtime.artefacts import read_json
from nascommon.space.genotype import Genotype
from nascommon.statistics.intervals import mean_share
from nascommon.statistics.null import FEWEST_TO_SHOW, Comparison, compare, null_from_accuracies, published_null
from nascommon.statistics.variance import IntraclassCorrelation, intraclass_correlation
from nascommon.training.artefact import DESCRIPTION
from nascommon.truth.bank import Bank, Head, Row, add_rows

Group = tuple[float, ...]
"""Accuracies of the trainings of one architecture."""


@dataclass(frozen=True)
class RandomOnes:
    """Random architectures of the protocol of ``retrain``.

    Attributes:
        source: where they come from, in words.
        groups: accuracies of each.
        params: mean number of trainable numbers of their networks.
    """

    source: str
    groups: list[Group]
    params: float | None

    def fair(self, trainings: int) -> int:
        """Return how many trainings of each are averaged: as many as ours has, where enough architectures have them."""
        for count in range(trainings, 1, -1):
            if sum(len(group) >= count for group in self.groups) >= FEWEST_TO_SHOW:
                return count
        return min([trainings, *map(len, self.groups)])

    def means(self, count: int) -> list[float]:
        """Return the mean of the first ``count`` trainings, in percent, of the architectures that have so many."""
        return [100 * mean_share(group[:count]) for group in self.groups if len(group) >= count]


@dataclass(frozen=True)
class Judged:
    """A comparison, and what it is a comparison of."""

    comparison: Comparison
    trainings: int = 1
    noise: IntraclassCorrelation | None = None
    """Share of the variance of one training that lies between the random architectures; None where it is unknown."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tree = self.comparison.as_dict() | {"trainings": self.trainings, "noise": None}
        if self.noise is not None:
            tree["noise"] = self.noise.as_dict() | {"of_mean": self.noise.of_mean(self.trainings)}
        return tree


def random_ones(trained: Sequence[Measured], bank: Bank | str, ours: Genotype) -> list[RandomOnes]:
    """Return the random architectures there are, the most first; ours is none of them."""
    found = []
    if trained:
        sizes = [one.params for one in trained if one.params is not None]
        groups = [one.accuracies for one in trained]
        found.append(RandomOnes("trained here by the same protocol", groups, fmean(sizes) if sizes else None))
    if isinstance(bank, Bank) and (others := [one for one in bank.genotypes() if one != ours]):
        known = [bank.known(one) for one in others]
        groups = [one.accuracies for one in known if one is not None]
        found.append(RandomOnes("a bank of the same protocol", groups, fmean(map(bank.params, others))))
    return sorted(found, key=lambda ones: -len(ones.groups))


def judge(run: Run, ours: Measured | None, random: Sequence[RandomOnes]) -> list[Judged]:
    """Compare means of equally many trainings; and, where the protocol is the papers', with their architectures."""
    if ours is None:
        return []
    judged = [judge_by(ours, ones) for ones in random]
    if run.params.evaluate.published_protocol:
        judged.append(Judged(compare(100 * ours.accuracies[0], published_null())))
    return judged


def judge_by(ours: Measured, ones: RandomOnes) -> Judged:
    """Compare with random architectures of one source."""
    count = ones.fair(len(ours.accuracies))
    source = ones.source if count == 1 else f"{ones.source}, means of {count} trainings each"
    comparison = compare(100 * mean_share(ours.accuracies[:count]), null_from_accuracies(ones.means(count), source))
    return Judged(comparison, count, intraclass_correlation(ones.groups))


def add_to_bank(run: Run, manifest: Manifest, trained: Sequence[tuple[list[Path], Measured]]) -> None:
    """Add the random architectures that were trained now to the user's bank, if one is named.

    Here and not in baseline, since this is the stage that reads test images.

    Args:
        run: of the stage.
        manifest: of the pictures.
        trained: what was tested, and where its trainings lie.

    Raises:
        UserError: the bank is torn, or of another protocol.
    """
    path = own_bank(run.params)
    if path is None or not trained:
        return
    protocol = protocol_of(run.params, manifest, run.precision)
    head = Head(command="python -m stages.baseline, python -m stages.evaluate", protocol=protocol)
    rows = [
        row_of(folder, one.genotype, accuracy)
        for folders, one in trained
        for folder, accuracy in zip(folders, one.accuracies, strict=True)
    ]
    new = add_rows(path, head, rows)
    print(f"evaluate: {new} trainings of random architectures added to {path}")


def row_of(folder: Path, genotype: Genotype, accuracy: float) -> Row:
    """Return the row of a training that baseline has saved; its date is that of the test."""
    saved = read_json(folder / DESCRIPTION)
    birth, metrics = saved["provenance"], saved["metrics"]
    certificate = (birth["commit"], birth["hardware"], birth["torch"], datetime.now(UTC).strftime("%Y-%m-%d"))
    return Row(genotype, saved["seed"], accuracy, int(metrics["params"]), metrics["train_seconds"], certificate)


def trained_folders() -> list[list[Path]]:
    """Return the folders of every random architecture that baseline trained, those of its further trainings behind."""
    folders = sorted(BASELINE.glob("random_*"))
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        groups.setdefault("_".join(folder.name.split("_")[:2]), []).append(folder)
    return list(groups.values())
