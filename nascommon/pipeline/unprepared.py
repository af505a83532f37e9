"""Knowledge of pictures that are not prepared yet: what prepare would refuse, and what the networks will see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nascommon.config import Params
from nascommon.cost import footprint as memory
from nascommon.cost.footprint import Shape
from nascommon.data.layout import picture_root
from nascommon.data.pictures import read_header
from nascommon.data.prepared import open_prepared
from nascommon.data.preparing import is_prepared, look
from nascommon.data.samples import Paths
from nascommon.data.settings import PLACES, DataSettings
from nascommon.data.sources import Source
from nascommon.data.storing import LARGEST_IN_MEMORY
from nascommon.pipeline.paths import TARGET_DATA, TRANSFER_DATA
from nascommon.pipeline.run import naming
from nascommon.runtime.home import at_home
from nascommon.runtime.reading import Complaint, value_at
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.truth.bank import read_bank

SECTIONS = (("data",), ("transfer", "data"))
KNOWN = {"digits": (1797, 1, 8, 10), "cifar10": (50_000, 3, 32, 10), "cifar100": (50_000, 3, 32, 100)}
"""Training images, channels, side and classes of the sets that are always the same."""


def complaints(tree: dict[str, Any]) -> list[Complaint]:
    """Complain of files and folders that a params file names and that are not there or cannot be used.

    Nothing but names is read, so a torn picture is for ``prepare`` to find.
    """
    found = []
    for section in SECTIONS:
        try:
            listed_folder(DataSettings.model_validate_json(json.dumps(value_at(tree, section))))
        except ValidationError:
            continue  # told as mistakes of the section
        except UserError as error:
            key, text = re.fullmatch(r"(?:data(?:\.(\w+))?: )?(.*)", str(error), re.DOTALL).groups()  # type: ignore[union-attr]  # matches all
            found.append(((*section, key or "path"), text))
    genotype = value_at(tree, ("discretize", "genotype"))
    try:
        if isinstance(genotype, str):
            find_genotype(genotype)
    except UserError as error:
        found.append((("discretize", "genotype"), str(error)))
    return [*found, *_bank_complaints(tree)]


def _bank_complaints(tree: dict[str, Any]) -> Iterator[Complaint]:
    """Complain of a bank that is torn or edited; one that is not there yet will be made."""
    bank = value_at(tree, ("baseline", "bank"))
    try:
        if isinstance(bank, str) and (path := at_home(bank)).exists():
            read_bank(path)
    except (UserError, RuntimeError) as error:  # RuntimeError: the home of a user who is not there
        yield ("baseline", "bank"), str(error)


def check_sizes(params: Params) -> None:
    """Refuse pictures whose size, where the settings leave it to them, does not fit a network.

    Raises:
        UserError: naming file and key, height x width got and what is allowed.
    """
    for section, settings, folder in (
        ("data", params.data, TARGET_DATA),
        ("transfer.data", params.transfer.data, TRANSFER_DATA),
    ):
        if settings is not None and settings.size is None:
            shape = expected_shape(settings, folder)
            with naming(params.file):
                params.check_image_size(section, shape.height, shape.width)


def expected_shape(settings: DataSettings, folder: Path) -> Shape:
    """Return the shape of a set as prepared, or as it will be.

    Raises:
        UserError: the pictures cannot be found or used.
    """
    if is_prepared(settings, folder):
        return memory.prepared_shape(open_prepared(folder))
    return _shape_of_folder(settings) if settings.source in PLACES else _shape_of_known(settings)


@cache
def listed_folder(settings: DataSettings) -> tuple[Source, Paths] | None:
    """Return the classes and training pictures of a folder, None of what is no folder of the user's.

    Raises:
        UserError: it cannot be used.
    """
    if settings.source not in PLACES:
        if settings.path is not None:
            picture_root(settings)
        return None
    source, train, _ = look(settings, report=lambda _line: None)
    assert isinstance(train, Paths)
    return source, train


def _shape_of_folder(settings: DataSettings) -> Shape:
    """Take the first picture for all where size or channels are left to the pictures."""
    known = listed_folder(settings)
    assert known is not None
    # Headers alone, and of one picture: reading them all takes as long as prepare itself, which will find what differs.
    source, train = known
    first = read_header(train.root / train.names[0])
    height, width = (settings.size, settings.size) if settings.size else first.sides
    channels = settings.channels or (1 if first.gray and settings.source != "imagenet" else 3)
    shape = Shape(len(train), channels, height, width, len(source.classes))
    fits = settings.source != "imagenet" and shape.resident_bytes() <= LARGEST_IN_MEMORY
    in_memory = settings.storage == "memory" or (settings.storage == "auto" and fits)
    return Shape(len(train), channels, height, width, len(source.classes), in_memory)


def _shape_of_known(settings: DataSettings) -> Shape:
    images, channels, side, classes = KNOWN[settings.source]
    if settings.source == "digits":
        images = round(images * (1 - settings.test_fraction))
    share = len(settings.classes or range(classes)) / classes
    images = min(round(images * share), settings.limit or images)
    side = settings.size or side
    in_memory = settings.storage != "files"
    return Shape(images, settings.channels or channels, side, side, round(classes * share), in_memory)
