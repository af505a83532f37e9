"""A trained network as a model of MLflow: a graph that takes pictures as they are, and code that takes any of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from nascommon.data.loading import Data
from nascommon.export import given, served
from nascommon.export.trained import CPU, TrainedNetwork
from nascommon.tracking.models import Packaging

SHOWN = 2
"""Pictures that a model shows as its example: a graph is not traced with one, which would stay one."""


def packaging_of(trained: TrainedNetwork) -> Packaging:
    """Return what MLflow must know of a trained network besides its graph."""
    details = trained.details(accuracy=trained.held_out_accuracy)
    code = _code()
    return Packaging(
        modules=code,
        loader=next(reversed(code)),
        data={served.DETAILS: json.dumps(details, indent=2, ensure_ascii=False)},
        classes=trained.pictures.classes,
        metadata=details,
        requirements=("numpy", "pandas", "pillow"),
    )


def _code() -> dict[str, str]:
    """Return modules by name, each after those that it imports.

    A name ends in a hash of what it names: models of two versions of this package may be loaded in one process.
    """
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in (given, served) if module.__file__]
    version = hashlib.sha256("".join(texts).encode()).hexdigest()[:8]
    blocks, loader = f"pictures_{version}", f"classifier_{version}"
    return {blocks: texts[0], loader: texts[1].replace(given.__name__, blocks)}


def example_of(data: Data) -> Tensor:
    """Return two of the training pictures as evaluation sees them, uint8 [2, C, H, W]."""
    manifest = data.prepared.manifest
    part = data.prepared.part("train").subset(range(SHOWN))
    (batch,) = Data(data.prepared, data.seed, CPU).evaluation(part, SHOWN).epoch(0)
    mean_C11, std_C11 = (torch.tensor(values)[:, None, None] for values in (manifest.mean, manifest.std))
    return ((batch.images * std_C11 + mean_C11) * 255).round().to(torch.uint8)
