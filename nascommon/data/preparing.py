"""Pictures are read, checked, split and written as a prepared folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nascommon.data.benchmark_split import read_halves
from nascommon.data.normalisation import moments
from nascommon.data.pictures import some
from nascommon.data.prepared import MANIFEST, ROLES, SETS, SPLIT, Manifest, class_counts
from nascommon.data.samples import Samples, content_hashes
from nascommon.data.settings import DataSettings
from nascommon.data.sources import Source, read_source
from nascommon.data.split import balanced, pick, stratified
from nascommon.data.storing import store
from nascommon.runtime.artefacts import read_json, write_json
from nascommon.runtime.seeding import generator
from nascommon.settings import UserError

ASKED = "settings.json"
"""Settings as asked for; apart from the manifest, so that what changes no picture changes nothing that stages read."""
ALL_SEEDS = 0
"""Seed of what is the same for every seed of params.yaml: which pictures there are, and which are for testing."""


def prepare(settings: DataSettings, seed: int, destination: Path, report: Callable[[str], None] = print) -> Manifest:
    """Read, check, split and write the pictures; everything of an earlier preparation in ``destination`` is removed.

    Writes manifest.json, split.json, settings.json, and the folders train and test with samples.safetensors, pixels or
    a list of files.

    Raises:
        UserError: pictures or settings that cannot be used; the message names the offenders.
    """
    _clear(destination)
    source, train, test = look(settings, report)
    stored = store(train, test, source.classes, settings, destination, report)
    _refuse_small(source, stored.train.labels, 2)  # again: copies may have been left out
    split = _split(stored.train.strata, settings, seed)
    drawn = generator(ALL_SEEDS, "data", "moments")
    mean, std = moments(settings.source, stored.train, stored.channels, stored.height, settings.fit, drawn)
    view = stored.train.view(stored.channels, stored.height, settings.fit)
    labels = {role: stored.train.labels[indices] for role, indices in split.items()} | {"test": stored.test.labels}
    whole, pictures = content_hashes(stored.train, stored.test, source.classes, split, view)
    manifest = Manifest(
        source=settings.source,
        storage=stored.train.storage,
        classes=source.classes,
        channels=stored.channels,
        height=stored.height,
        width=stored.width,
        fit=settings.fit,
        mean=mean,
        std=std,
        augment=settings.augment,
        counts={
            part: dict(zip(source.classes, class_counts(of, len(source.classes)), strict=True))
            for part, of in labels.items()
        },
        content_hash=whole,
        pictures_hash=pictures,
        copies=stored.copies,
        seed=seed,
        workers=settings.workers,
    )
    stored.train.write(destination / "train")
    stored.test.write(destination / "test")
    write_json(destination / SPLIT, split)
    write_json(destination / ASKED, settings.model_dump(mode="json"))
    write_json(destination / MANIFEST, manifest.model_dump(mode="json"))  # last: its presence says that all is there
    report(_summary(manifest))
    return manifest


def look(settings: DataSettings, report: Callable[[str], None] = print) -> tuple[Source, Samples, Samples]:
    """Return what there is, with training and test samples; of a folder nothing but names is read.

    Raises:
        UserError: something is missing or contradictory; the message names it.
    """
    source = read_source(settings, report)
    return source, *_divide(source, settings)


def is_prepared(settings: DataSettings, folder: Path) -> bool:
    """Return whether a folder holds what these settings ask for, and not what others did."""
    try:
        return bool(read_json(folder / ASKED) == settings.model_dump(mode="json"))
    except UserError:
        return False


def _split(strata_N: Tensor, settings: DataSettings, seed: int) -> dict[str, list[int]]:
    """Return indices by role: the two halves of the search and, where it does not see all pictures, the rest."""
    rest_N, seen_N = torch.empty(0, dtype=torch.int64), torch.arange(len(strata_N))
    if settings.search_fraction < 1:
        rest_N, seen_N = stratified(strata_N, settings.search_fraction, generator(seed, "data", "seen"))
        _refuse_unsplittable(strata_N, seen_N, settings.search_fraction)
    if settings.split == "nasbench201":
        halves = read_halves()
    else:
        halves = stratified(strata_N[seen_N], settings.architecture_fraction, generator(seed, "data", "halves"))
    split = {role: seen_N[indices].tolist() for role, indices in zip(ROLES, halves, strict=True)}
    return split | ({"rest": rest_N.tolist()} if len(rest_N) else {})


def _refuse_unsplittable(labels_N: Tensor, seen_N: Tensor, share: float) -> None:
    """Refuse a share of the pictures that leaves a class out of either half of the search."""
    counts_K = torch.bincount(labels_N)
    if int(torch.bincount(labels_N[seen_N], minlength=len(counts_K)).min()) < len(ROLES):
        smallest = int(counts_K.min())
        least = math.ceil(10_000 * len(ROLES) / smallest) / 10_000
        raise UserError(
            "data.search_fraction: leaves the search less than two pictures of a class, one for either half"
            f" (got {share}); the smallest class has {smallest}, so give at least {least}"
        )


def _divide(source: Source, settings: DataSettings) -> tuple[Samples, Samples]:
    """Training and test samples, the test set split off where the source has none, both cut down to the limit.

    All seeds are trained and tested on the same pictures, or else their accuracies could not be compared.
    """
    train, test = source.train, source.test
    _refuse_small(source, train.labels, 3 if test is None else 2)
    if test is None:
        kept, held_out = stratified(train.strata, settings.test_fraction, generator(ALL_SEEDS, "data", "test"))
        train, test = train.take(kept), train.take(held_out)
        _refuse_small(source, train.labels, 2)
    if settings.limit is None or settings.limit >= len(train):
        return train, test
    if settings.limit < 2 * len(source.classes):
        raise UserError(
            f"data.limit: {len(source.classes)} classes need at least {2 * len(source.classes)} training pictures,"
            f" one of each class in either half (got {settings.limit})"
        )
    test_limit = max(round(len(test) * settings.limit / len(train)), len(source.classes))
    return _limited(train, settings.limit, "train"), _limited(test, test_limit, "test")


def _limited(samples: Samples, limit: int, name: str) -> Samples:
    quotas = balanced(torch.bincount(samples.strata), limit)
    return samples.take(pick(samples.strata, quotas, generator(ALL_SEEDS, "data", "limit", name))[0])


def _refuse_small(source: Source, labels: Tensor, fewest: int) -> None:
    counts = zip(source.classes, class_counts(labels, len(source.classes)), strict=True)
    small = [f"{name} has {count}" for name, count in counts if count < fewest]
    if small:
        raise UserError(
            f"data: every class needs at least {fewest} pictures to be split: {some(small)};"
            " add pictures, or leave the classes out with data.classes"
        )


def _clear(destination: Path) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, SPLIT, ASKED):
        (destination / name).unlink(missing_ok=True)
    for name in SETS:
        shutil.rmtree(destination / name, ignore_errors=True)


def _summary(manifest: Manifest) -> str:
    parts = ", ".join(f"{sum(counts.values())} {part}" for part, counts in manifest.counts.items())
    shape = f"{manifest.channels} x {manifest.height} x {manifest.width}"
    return (
        f"{manifest.source}: {len(manifest.classes)} classes, {parts}; pictures {shape}, stored as {manifest.storage}"
    )
