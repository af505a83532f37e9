"""All that decides an accuracy apart from architecture and seed: accuracies of one protocol may be compared."""

from __future__ import annotations

from typing import Literal

from nascommon.data.prepared import Manifest
from nascommon.data.settings import Augment
from nascommon.runtime.artefacts import digest
from nascommon.runtime.records import quoted
from nascommon.settings import Count, Probability, Settings, leaves
from nascommon.space.precision import Precision
from nascommon.space.record import SpaceRecord
from nascommon.space.space import Space
from nascommon.training.settings import FromScratchSettings, NetworkSettings, TrainingSettings

HASHES = {
    "data.content_hash": "the pictures, or which of them are for testing, differ (section data)",
    "space.content_hash": "nodes, kept edges or candidates of the space differ",
}
"""What it means that two hashes differ, which themselves say nothing to a person."""


class Pictures(Settings):
    """The pictures that networks are trained and tested on."""

    source: str
    classes: Count
    train: Count
    """Number of training pictures."""
    test: Count
    """Number of test pictures."""
    content_hash: str
    """That of the prepared set without the split of the search: pixels and labels for training, and for testing."""
    augment: Augment


class Drawn(Settings):
    """The space that random architectures are drawn from."""

    name: str
    skeleton: str
    content_hash: str
    """Of its kinds of cells: nodes, kept edges and the candidates that may win."""


class TrainingProtocol(Settings):
    """The protocol of a bank; readable, so that a difference can be named.

    A key that a later version adds has its default in a protocol that was written before.
    """

    format: Literal[1] = 1
    data: Pictures
    space: Drawn
    network: NetworkSettings
    training: TrainingSettings
    holdout: Probability
    precision: Precision

    @staticmethod
    def of(retrain: FromScratchSettings, manifest: Manifest, space: Space, precision: Precision) -> TrainingProtocol:
        """Return the protocol of the section ``retrain`` on prepared pictures."""
        counts = {part: sum(of.values()) for part, of in manifest.counts.items()}
        test = counts.pop("test")
        pictures = Pictures(
            source=manifest.source,
            classes=len(manifest.classes),
            train=sum(counts.values()),
            test=test,
            content_hash=manifest.pictures_hash,
            augment=manifest.augment,
        )
        return TrainingProtocol.on(pictures, retrain, space, precision)

    @staticmethod
    def on(pictures: Pictures, retrain: FromScratchSettings, space: Space, precision: Precision) -> TrainingProtocol:
        """Return the protocol on pictures that are described already."""
        return TrainingProtocol(
            data=pictures,
            space=drawn_from(space),
            network=retrain.network,
            training=retrain.training,
            holdout=retrain.holdout,
            precision=precision,
        )

    def difference(self, here: TrainingProtocol) -> str | None:
        """Name the first key in which this protocol differs from ``here``; None where they are the same."""
        mine, other = (dict(leaves(protocol.model_dump(mode="json"))) for protocol in (self, here))
        for key, value in other.items():
            if mine[key] != value and key in HASHES:
                return HASHES[key]
            if mine[key] != value:
                return f"{key} differs ({quoted(mine[key])} there, {quoted(value)} here)"
        return None

    def in_words(self) -> str:
        """Describe the protocol for a report."""
        network, training = self.network, self.training
        return (
            f"trained from scratch on {self.data.train:,} pictures of {self.data.source} for {training.epochs} epochs "
            f"({network.cells} cells, {network.channels} channels), accuracy of the last epoch on "
            f"{self.data.test:,} test pictures"
        )


def drawn_from(space: Space) -> Drawn:
    """Return what of a space decides which random architectures are drawn from it."""
    record = SpaceRecord.for_baseline(space)
    cells = [(kind, cell.nodes, cell.concat, cell.kept, cell.candidates) for kind, cell in record.cells.items()]
    return Drawn(name=record.space, skeleton=record.skeleton, content_hash=digest(cells))
