"""Sources of pictures: each gives class names, training samples and, if it has one, its own test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nascommon.data.folders import read_folders
from nascommon.data.pictures import some
from nascommon.data.samples import Pixels, Samples
from nascommon.data.settings import FOLDERS, DataSettings
from nascommon.data.shards import read_shards
from nascommon.settings import UserError

BRIGHTEST_DIGIT = 16.0


@dataclass(frozen=True)
class Source:
    """Offer of a source; ``test`` is None where the source has no test set of its own."""

    classes: tuple[str, ...]
    train: Samples
    test: Samples | None


def read_source(settings: DataSettings, report: Callable[[str], None]) -> Source:
    """Read the pictures (small sets) or their names (folders) that ``settings`` ask for.

    Raises:
        UserError: something is missing, corrupt or contradictory; the message names it.
    """
    if settings.source in FOLDERS:
        return Source(*read_folders(settings, report))
    if settings.source == "webdataset":
        return Source(*read_shards(settings, report))
    if settings.source == "huggingface":
        from nascommon.data.tables import read_tables

        return Source(*read_tables(settings, report))
    if settings.source == "digits":
        source = _digits()
    else:
        from nascommon.data.cifar import read_cifar

        source = Source(*read_cifar(settings))
    return source if settings.classes is None else _restricted(source, settings.classes)


def _digits() -> Source:
    """Scikit-learn's 1797 handwritten digits, 8 x 8, gray 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    gray = torch.from_numpy(bunch.images)[:, None]
    images = (gray * (255 / BRIGHTEST_DIGIT)).round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    return Source(tuple(str(name) for name in bunch.target_names), Pixels(images, labels), None)


def _restricted(source: Source, classes: tuple[str, ...]) -> Source:
    unknown = [name for name in classes if name not in source.classes]
    if unknown:
        raise UserError(f"data.classes: unknown {some(unknown)}; there are {', '.join(source.classes)}")
    new_label_K = torch.full((len(source.classes),), -1)
    for label, name in enumerate(classes):
        new_label_K[source.classes.index(name)] = label
    test = None if source.test is None else _relabelled(source.test, new_label_K)
    return Source(classes, _relabelled(source.train, new_label_K), test)


def _relabelled(samples: Samples, new_label_K: Tensor) -> Samples:
    labels = new_label_K[samples.labels]
    return samples.relabelled(labels).take((labels >= 0).nonzero().flatten())
