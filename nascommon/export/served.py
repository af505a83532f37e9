"""What MLflow's pyfunc runs of a logged classifier; it is copied into the model beside ``plain``.

Suffixes: as in ``plain``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from nascommon.export.plain import as_batch, read_picture

GRAPH, DETAILS = "model.pt2", "details.json"


class Served:
    """Answers with a table: a row for every picture, with the likeliest class and the probability of each."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / DETAILS).read_text(encoding="utf-8"))
        self.classes, self.channels = told["classes"], told["pictures"]["channels"]
        self.graph = torch.export.load(folder / GRAPH).module()

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the columns picture, class, probability and probabilities.

        Args:
            data: an array or tensor of pictures, gray or RGB, one or a batch, uint8 or from 0 to 1; or paths of picture
                files and of folders of them; or a table or dictionary whose first entry is one of these.
            params: MLflow hands it over; there are none.

        Raises:
            ValueError: an array is of no such shape, or its values are out of range.
            OSError: a file is no picture.
        """
        del params
        return pd.DataFrame([self._row(name, row) for name, found in self._answers(data) for row in found])

    def _row(self, name: str, probabilities_K: Tensor) -> dict[str, Any]:
        shares = dict(zip(self.classes, probabilities_K.tolist(), strict=True))
        best = max(shares, key=lambda one: shares[one])
        return {"picture": name, "class": best, "probability": shares[best], "probabilities": shares}

    @torch.no_grad()
    def _answers(self, data: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield names, and probabilities [B, K] of pictures that are of one size."""
        for name, pictures in named_pictures(data):
            levels = as_batch(pictures, self.channels).round().to(torch.uint8)
            yield name, self.graph(levels)


def named_pictures(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield each picture, or an array of several, with its path or an empty name."""
    if isinstance(data, pd.DataFrame):
        data = data.iloc[:, 0].tolist()
    elif isinstance(data, dict):
        data = next(iter(data.values()))
    if isinstance(data, (str, Path)):
        yield from ((str(path), read_picture(path)) for path in files(Path(data)))
    elif isinstance(data, Tensor) or not holds_paths(data):
        yield "", data if isinstance(data, Tensor) else numbers(data)
    else:
        for one in data:
            yield from named_pictures(one)


def holds_paths(data: Any) -> bool:
    """Return whether a list or array is of paths, or of pictures of several sizes."""
    array = data if isinstance(data, np.ndarray) else np.array(data, dtype=object)
    return array.dtype.kind in "OU" and array.ndim == 1


def numbers(data: Any) -> Any:
    """Return an array of numbers, of whole ones where all are."""
    return np.array(data.tolist() if isinstance(data, np.ndarray) and data.dtype == object else data)


def files(path: Path) -> Iterator[Path]:
    """Yield a file, or the pictures in and below a folder."""
    known = Image.registered_extensions()
    inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in known) if path.is_dir() else [path]
    if not inside:
        raise ValueError(f"{path}: holds no pictures")
    yield from inside


def _load_pyfunc(path: str) -> Served:
    """Load what MLflow's pyfunc calls; the name is MLflow's."""
    return Served(Path(path))
