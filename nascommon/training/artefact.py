"""A trained network on disk: its weights as safetensors, and beside them the genotype and size to rebuild it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import ConfigDict, Field, model_validator

from nascommon.data.fitting import Fit
from nascommon.data.prepared import Manifest, Names, PerChannel
from nascommon.data.samples import Storage
from nascommon.runtime.artefacts import read_tensors, write_json, write_tensors
from nascommon.runtime.records import read_record, remake_hint
from nascommon.settings import Cells, Channels, Count, Settings, UserError
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.space.network import Network, NetworkSpec, build_network
from nascommon.space.precision import Precision
from nascommon.space.stem import Stem

WEIGHTS, DESCRIPTION = "network.safetensors", "network.json"
SKIPPED = "skipped.json"
"""Says why a stage trained nothing; DVC warns of an output that is empty."""
SCHEMA: Literal[1] = 1


class SpecRecord(Settings):
    """The size of a network, as ``network.json`` gives it."""

    channels: Channels
    cells: Cells
    classes: Count
    stem: Stem
    image_channels: Literal[1, 3]
    auxiliary: bool
    auxiliary_second_norm: bool
    precision: Precision


class PicturesRecord(Settings):
    """What a network was trained on, and how a picture becomes what it takes; see ``Manifest`` for each."""

    source: str
    classes: Names
    channels: Literal[1, 3]
    height: Count
    width: Count
    fit: Fit
    storage: Storage
    mean: PerChannel
    std: PerChannel
    content_hash: str

    @staticmethod
    def of(manifest: Manifest) -> dict[str, Any]:
        """Return what ``network.json`` keeps of a manifest."""
        return manifest.model_dump(mode="json", include=set(PicturesRecord.model_fields))


class NetworkRecord(Settings):
    """Part of ``network.json`` that is read again; provenance beside it is for people."""

    model_config = ConfigDict(extra="ignore")

    version: Annotated[Literal[1], Field(alias="schema")]
    spec: SpecRecord
    genotype: dict[str, Any]
    metrics: dict[str, float | None] = Field(default_factory=dict)


class DeployableRecord(NetworkRecord):
    """What ``network.json`` says of a network that pictures can be given to as they are."""

    pictures: PicturesRecord
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        told, spec = self.pictures, self.spec
        per_channel = {len(told.mean), len(told.std), told.channels, spec.image_channels}
        if len(per_channel) > 1 or min(told.std) <= 0 or len(told.classes) != spec.classes:
            raise ValueError("pictures: does not fit spec")
        return self


def save_network(folder: Path, network: Network, genotype: Genotype, **provenance: Any) -> None:
    """Write ``network.safetensors`` and ``network.json`` into ``folder``."""
    write_tensors(folder / WEIGHTS, network.state_dict())
    description = {"schema": SCHEMA, "spec": asdict(network.spec), "genotype": genotype.to_json(), **provenance}
    write_json(folder / DESCRIPTION, description)


def load_network(folder: Path, device: torch.device, stage: str) -> tuple[Network, Genotype, dict[str, float | None]]:
    """Rebuild a network that ``save_network`` wrote; return it in evaluation mode with its genotype and metrics.

    Args:
        folder: where it lies.
        device: where it shall compute.
        stage: the one that wrote it, for the message.

    Raises:
        UserError: something is missing, torn, or does not fit together.
    """
    path = folder / DESCRIPTION
    record = read_record(path, NetworkRecord, stage)
    try:
        genotype = genotype_from_json(record.genotype, f"{path}: genotype")
    except UserError as error:
        raise UserError(f"{error}; {remake_hint(stage)}") from error
    spec, weights = NetworkSpec(**record.spec.model_dump()), read_tensors(folder / WEIGHTS)
    # Compared before anything is built: a size edited by hand may be any.
    if spec.cells > len(weights) or _shapes(genotype, spec) != {name: tensor.shape for name, tensor in weights.items()}:
        raise UserError(f"{path}: does not fit its weights; {remake_hint(stage)}")
    network = build_network(genotype, spec)
    network.load_state_dict(weights)
    return network.to(device=device, memory_format=torch.channels_last).eval(), genotype, record.metrics  # type: ignore[call-overload]


def _shapes(genotype: Genotype, spec: NetworkSpec) -> dict[str, torch.Size]:
    """Return the shape of every tensor of a network without allocating one; none where there is no such network."""
    with torch.device("meta"), suppress(ValueError):
        return {name: tensor.shape for name, tensor in build_network(genotype, spec).state_dict().items()}
    return {}
