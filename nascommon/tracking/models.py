"""A network becomes a folder that MLflow loads: a graph without pickled code, and what takes any picture."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from mlflow.models import Model, ModelSignature


@dataclass(frozen=True)
class Packaging:
    """Code, words and files of a classifier of pictures, so that its model takes more than its graph does.

    Attributes:
        modules: source by name, which need nothing but ``requirements`` and each other.
        loader: the one whose ``_load_pyfunc`` returns what pyfunc predicts with.
        data: content of files by name, beside the graph.
        classes: names, in the order of the outputs.
        metadata: anything that JSON can hold, to be shown with the model.
        requirements: packages of the modules, besides torch.
    """

    modules: Mapping[str, str]
    loader: str
    data: Mapping[str, str]
    classes: Sequence[str]
    metadata: Mapping[str, Any]
    requirements: Sequence[str]


def save_model(
    network: torch.nn.Module, example: torch.Tensor, folder: Path, packaging: Packaging | None = None
) -> None:
    """Export the network, for the CPU and any batch size, as an MLflow model that holds no pickled code.

    ``mlflow.pytorch`` loads the graph; pyfunc runs it, too, or what ``packaging`` puts around it.
    """
    import mlflow.pytorch
    import torch
    from mlflow.models import Model

    network = copy.deepcopy(network).cpu().eval()
    # Two images: torch.export takes a batch of one for a constant.
    two = torch.cat([example, example])[:2].detach().cpu()
    packages = ("mlflow", "torch", *(packaging.requirements if packaging else ("numpy",)))
    with warnings.catch_warnings():
        # torch says so of every channels-last weight, and saves it whole all the same.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group", category=UserWarning)
        mlflow.pytorch.save_model(
            network,
            str(folder),
            input_example=two.numpy(),
            signature=_signature_of(network, two, any_size=packaging is not None),
            serialization_format="pt2",
            # Named here because MLflow would find them by loading the model in another process.
            pip_requirements=[f"{one}=={version(one).partition('+')[0]}" for one in packages],
        )
    model = Model.load(str(folder))
    if packaging is None:
        # An exported graph stays on its device, but pyfunc asks for CUDA wherever there is a GPU.
        model.flavors["python_function"]["config"]["device"] = "cpu"
    else:
        _package(model, folder, packaging)
    model.save(str(folder / "MLmodel"))


def _signature_of(network: torch.nn.Module, two: torch.Tensor, *, any_size: bool) -> ModelSignature:
    """Return the signature of the graph, whose first size is free, and with ``any_size`` height and width, too."""
    import torch
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import Schema, TensorSpec

    with torch.no_grad():
        found = infer_signature(two.numpy(), network(two).numpy())
    if not any_size:
        return found
    given = TensorSpec(two.numpy().dtype, (-1, two.shape[1], -1, -1))
    return ModelSignature(Schema([given]), found.outputs)


def _package(model: Model, folder: Path, packaging: Packaging) -> None:
    """Let pyfunc run the code of the packaging, and say what that takes and returns."""
    for name, text in packaging.modules.items():
        path = folder / "code" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, text in packaging.data.items():
        (folder / "data" / name).write_text(text, encoding="utf-8")
    model.flavors["python_function"] |= {"loader_module": packaging.loader, "code": "code", "config": {}}
    model.signature = _words_of(packaging.classes)
    model.metadata = dict(packaging.metadata)


def _words_of(classes: Sequence[str]) -> ModelSignature:
    """Return a signature that lets through arrays of any type and size, and paths; it names the classes."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Object, Property

    shares = Object([Property(name, DataType.double) for name in classes])
    columns: list[tuple[DataType | Object, str]] = [
        (DataType.string, "picture"),
        (DataType.string, "class"),
        (DataType.double, "probability"),
        (shares, "probabilities"),
        (DataType.string, "error"),
    ]
    # To MLflow a list of anything is also an array, or a nested list, of numbers.
    given = TensorSpec(np.dtype("O"), (-1,), "pictures")
    return ModelSignature(Schema([given]), Schema([ColSpec(kind, name) for kind, name in columns]))
