"""The classifier as a graph, of ``torch.export`` or of ONNX: pictures uint8 [B, C, h, w] of any size to probabilities.

Suffixes: as in ``plain``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.export.plain import Classifier
from nascommon.runtime.artefacts import write_bytes
from nascommon.settings import UserError

GRAPH, ONNX = "classifier.pt2", "classifier.onnx"
DETAILS = "details.json"
INPUT, OUTPUT = "pictures", "probabilities"
EXAMPLE = (2, 41, 37)
"""Pictures, height and width that a graph is traced with: none of them 1, and all different, so that none is fixed."""


class Graph(nn.Module):
    """The part of a classifier that is a graph: layout and range of the pictures are fixed."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pictures: Tensor) -> Tensor:
        """Return probabilities [B, K] of pictures uint8 [B, C, h, w]."""
        return self.classifier.probabilities(pictures)


def example(channels: int) -> Tensor:
    """Return pictures of the kind that a graph takes, all black."""
    count, height, width = EXAMPLE
    return torch.zeros(count, channels, height, width, dtype=torch.uint8)


def dynamic() -> dict[str, dict[int, Any]]:
    """Return which sizes of the input are free, by name."""
    return {INPUT: {axis: torch.export.Dim(name, min=1) for axis, name in ((0, "batch"), (2, "height"), (3, "width"))}}


@contextmanager
def quiet() -> Iterator[None]:
    """Trace without gradients, and without what torch says of its own insides."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def traced(classifier: Classifier) -> torch.export.ExportedProgram:
    """Return the program of ``torch.export``, which says nothing of the files that it was made from."""
    with quiet():
        program = torch.export.export(Graph(classifier), (example(classifier.channels),), dynamic_shapes=dynamic())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def write_graph(classifier: Classifier, details: dict[str, Any], path: Path) -> None:
    """Write a program of ``torch.export``, with the details beside it under ``details.json``."""
    archive = BytesIO()
    with quiet():
        torch.export.save(traced(classifier), archive, extra_files={DETAILS: json.dumps(details)})
    write_bytes(path, archive.getvalue())


def read_graph(path: Path) -> nn.Module:
    """Return the module of a program that ``write_graph`` wrote."""
    with quiet():
        return torch.export.load(path).module()


def write_onnx(classifier: Classifier, details: dict[str, Any], path: Path) -> None:
    """Write a model of ONNX, the details among its metadata, each as JSON.

    Raises:
        UserError: the packages that it takes are not installed.
    """
    onnx = needed("onnx")
    needed("onnxscript")
    with quiet():
        program = torch.onnx.export(
            Graph(classifier),
            (example(classifier.channels),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=dynamic(),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for told in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del told.metadata_props[:]  # stack traces, with the paths of this machine
    onnx.helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False) for name, value in details.items()})
    write_bytes(path, model.SerializeToString())


def run_onnx(path: Path, pictures: Tensor) -> Tensor:
    """Return what onnxruntime makes of pictures."""
    session = needed("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: pictures.numpy()})
    return torch.from_numpy(found)


def needed(name: str) -> Any:
    """Import a package of the extra ``export``.

    Raises:
        UserError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format onnx: {error.name} is not installed; pip install onnx onnxscript onnxruntime (the extra"
            " export), or take another format"
        ) from error
