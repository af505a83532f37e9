"""Ingredients of a search: the size of its supernet and its batches."""

from __future__ import annotations

from nascommon.data.loading import Data
from nascommon.method import Method
from nascommon.search.passes import SearchData
from nascommon.search.settings import SearchSettings
from nascommon.space.precision import Precision
from nascommon.space.supernet import SupernetSpec


def base_spec(
    search: SearchSettings, method: Method, classes: int, image_channels: int, precision: Precision
) -> SupernetSpec:
    """Return what the data and the section ``search`` say of the supernet."""
    return SupernetSpec(
        search.channels,
        search.cells,
        classes,
        method.searched(search.chosen_space()),
        image_channels,
        precision=precision,
        affine=search.affine,
    )


def search_data(data: Data, batch_size: int, seed: int, pieces: int = 1) -> SearchData:
    """Return the batches of both halves; the test set is not among them. The supernet is scored in pieces, too."""
    weights, architecture = data.prepared.part("weights"), data.prepared.part("architecture")
    return SearchData(
        weights=data.training(weights, batch_size, "weights", seed=seed),
        architecture=data.training(architecture, batch_size, "architecture", seed=seed),
        validation=data.evaluation(architecture, batch_size, pieces),
    )
