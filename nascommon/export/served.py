"""What MLflow's pyfunc runs of a logged classifier; it is copied into the model beside ``given``.

Suffixes: as in ``given``, and ``K`` classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nascommon.export.given import as_batch, pictures_in, read_picture

GRAPH, DETAILS = "model.pt2", "details.json"


class Served:
    """Answers with a table: a row for every picture, with the likeliest class and the probability of each."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / DETAILS).read_text(encoding="utf-8"))
        self.classes, self.channels = told["classes"], told["pictures"]["channels"]
        self.graph = torch.export.load(folder / GRAPH).module()

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the columns picture, class, probability, probabilities and error.

        A file that cannot be read is a row, too: it has an error, no class and no probabilities.

        Args:
            data: an array or tensor of pictures, gray or RGB, one or a batch, uint8 or from 0 to 1; or paths of picture
                files and of folders of them; or a table or dictionary whose first entry is one of these.
            params: MLflow hands it over; there are none.

        Raises:
            ValueError: an array is of no such shape, or its values are out of range; or there are only paths of folders
                without pictures.
        """
        del params
        rows = [row for name, given in named_pictures(data) for row in self._rows(name, given)]
        return pd.DataFrame(rows, columns=["picture", "class", "probability", "probabilities", "error"], dtype=object)

    @torch.no_grad()
    def _rows(self, name: str, given: Any) -> list[dict[str, Any]]:
        """Return a row for a file or its fault, or one for each picture of an array."""
        try:
            if isinstance(given, ValueError):
                raise given
            if isinstance(given, Path):
                levels = read_picture(name, self.channels)
            else:
                levels = as_batch(given, self.channels).round().to(torch.uint8)
        except ValueError as error:
            if not name:
                raise
            fault = str(error).removeprefix(f"{name}: ")
            return [{"picture": name, "class": "", "probability": None, "probabilities": {}, "error": fault}]
        return [self._answer(name, shares_K) for shares_K in self.graph(levels)]

    def _answer(self, name: str, probabilities_K: Tensor) -> dict[str, Any]:
        shares = dict(zip(self.classes, probabilities_K.tolist(), strict=True))
        best = max(shares, key=lambda one: shares[one])
        return {"picture": name, "class": best, "probability": shares[best], "probabilities": shares, "error": ""}


def named_pictures(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each file with its path or what is wrong, or an empty name with an array of pictures."""
    if isinstance(data, pd.DataFrame):
        data = data.iloc[:, 0].tolist()
    elif isinstance(data, dict):
        data = next(iter(data.values()))
    listed = [data] if isinstance(data, (str, Path)) else data
    if isinstance(listed, Tensor) or not holds_paths(listed):
        yield "", listed if isinstance(listed, Tensor) else numbers(listed)
    elif all(isinstance(one, (str, Path)) for one in listed):
        yield from ((name, ValueError(fault) if fault else Path(name)) for name, fault in pictures_in(listed))
    else:
        for one in listed:
            yield from named_pictures(one)


def holds_paths(data: Any) -> bool:
    """Return whether a list or array is of paths, or of pictures of several sizes."""
    array = data if isinstance(data, np.ndarray) else np.array(data, dtype=object)
    return array.dtype.kind in "OU" and array.ndim == 1


def numbers(data: Any) -> Any:
    """Return an array of numbers, of whole ones where all are."""
    return np.array(data.tolist() if isinstance(data, np.ndarray) and data.dtype == object else data)


def _load_pyfunc(path: str) -> Served:
    """Load what MLflow's pyfunc calls; the name is MLflow's."""
    return Served(Path(path))
