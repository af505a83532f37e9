"""Export: the retrained network as files that need nothing of this project, each held against the network itself."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nascommon.export import graphs
from nascommon.export.source import MODULE, WEIGHTS, write_source
from nascommon.export.trained import TrainedNetwork, load_trained
from nascommon.pipeline.measured import accuracy, in_words
from nascommon.pipeline.predict import FOLDERS, Trainer
from nascommon.runtime.artefacts import write_tensors, write_text
from nascommon.runtime.progress import summary
from nascommon.settings import UserError

Format = Literal["onnx", "torch_export", "python"]
BOUND = 1e-4
"""Largest difference of a probability from the network's own that an export may have, where float32 is that exact."""
SHAPES = ((1, 0, 0), (5, 0, 0), (3, 61, 40), (1, 20, 64), (2, 250, 333))
"""Pictures, height and width of what an export is tried with; 0 is the network's own."""
Found = Callable[[Tensor], Tensor]


def export(form: Format, folder: Path, stage: Trainer = "retrain") -> None:
    """Write the network of a stage in one format, try the file, and say how far it is from the network.

    Raises:
        UserError: there is no network, it cannot be written so or there, or the file answers otherwise than it does.
    """
    trained = load_trained(FOLDERS[stage], stage)
    if "noise" in str(trained.genotype):
        raise UserError("--format: the genotype holds noise, whose answers are random; there is nothing to take home")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: must be a folder, or one that can be made (got {folder}: {error.strerror})") from error
    details = trained.details(accuracy=accuracy(trained))
    files = WRITERS[form](trained, details, folder)
    found = READERS[form](files[0])
    differences = [difference(trained, found, shape) for shape in SHAPES]
    worst, rounding = (max(column) for column in zip(*differences, strict=True))
    if not worst <= max(BOUND, rounding):
        raise UserError(
            f"{files[0]}: a probability is {worst:.1e} from that of the network, more than {max(BOUND, rounding):.0e};"
            " do not use the file, and report this with data/retrain and the versions of torch and onnxruntime"
        )
    summary(
        f"{trained.name} as {form}",
        {
            "worst difference": f"{worst:.1e} of a probability, on {len(SHAPES)} batches of several sizes; float32"
            f" itself is off by {rounding:.1e}",
            "accuracy": in_words(trained),
            "classes": ", ".join(trained.pictures.classes),
            "data": details["licence_of_data"],
        },
        files,
    )


def difference(trained: TrainedNetwork, found: Found, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Return by how much a probability of random pictures differs at most from the network's own, and own from exact.

    The second is what float32 costs the network: one that is badly conditioned answers a little otherwise as soon as
    sums are taken in another order, whoever computes it.
    """
    told, (count, height, width) = trained.pictures, shape
    sides = (height or told.height, width or told.width)
    draws = torch.Generator().manual_seed(sum(shape))
    pictures = torch.randint(256, (count, told.channels, *sides), generator=draws, dtype=torch.uint8)
    own, exact = trained.classifier(pictures), copy.deepcopy(trained.classifier).double()(pictures)
    return float((found(pictures) - own).abs().max()), float((own - exact).abs().max())


def _write_onnx(trained: TrainedNetwork, details: dict[str, Any], folder: Path) -> list[Path]:
    path = folder / graphs.ONNX
    graphs.write_onnx(trained.classifier, details, path)
    return [path]


def _write_graph(trained: TrainedNetwork, details: dict[str, Any], folder: Path) -> list[Path]:
    path = folder / graphs.GRAPH
    graphs.write_graph(trained.classifier, details, path)
    return [path]


def _write_python(trained: TrainedNetwork, details: dict[str, Any], folder: Path) -> list[Path]:
    source = write_source(trained, json.loads(json.dumps(details)))
    write_text(folder / MODULE, source)
    write_tensors(folder / WEIGHTS, trained.network.state_dict())
    return [folder / MODULE, folder / WEIGHTS]


def _read_onnx(path: Path) -> Found:
    return lambda pictures: graphs.run_onnx(path, pictures)


def _read_graph(path: Path) -> Found:
    return graphs.read_graph(path)


def _read_python(path: Path) -> Found:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    # The file as it is: an import would take bytecode of one that had the same size within the same second.
    exec(compile(path.read_bytes(), path, "exec"), module.__dict__)  # noqa: S102 -- we have just written it
    classifier: Found = module.load()
    return classifier


WRITERS: dict[Format, Callable[[TrainedNetwork, dict[str, Any], Path], list[Path]]] = {
    "onnx": _write_onnx,
    "torch_export": _write_graph,
    "python": _write_python,
}
READERS: dict[Format, Callable[[Path], Found]] = {
    "onnx": _read_onnx,
    "torch_export": _read_graph,
    "python": _read_python,
}
