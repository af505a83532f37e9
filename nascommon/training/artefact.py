"""A trained network on disk: its weights as safetensors, and beside them the genotype and size to rebuild it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nascommon.runtime.artefacts import read_json, read_tensors, write_json, write_tensors
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.space.network import Network, NetworkSpec

WEIGHTS, DESCRIPTION = "network.safetensors", "network.json"
SCHEMA = 1


def save_network(folder: Path, network: Network, genotype: Genotype, **provenance: Any) -> None:
    """Write ``network.safetensors`` and ``network.json`` into ``folder``."""
    write_tensors(folder / WEIGHTS, network.state_dict())
    description = {"schema": SCHEMA, "spec": asdict(network.spec), "genotype": genotype.to_json(), **provenance}
    write_json(folder / DESCRIPTION, description)


def load_network(folder: Path, device: torch.device) -> tuple[Network, Genotype, dict[str, Any]]:
    """Rebuild a network that ``save_network`` wrote; return it in evaluation mode with its genotype and description.

    Raises:
        UserError: something is missing, torn, or does not fit together.
    """
    path = folder / DESCRIPTION
    description = read_json(path)
    try:
        if description["schema"] != SCHEMA:
            raise UserError(f"{path}: schema must be {SCHEMA} (got {description['schema']!r}); train the network again")
        genotype = genotype_from_json(description["genotype"], str(path))
        network = Network(genotype, NetworkSpec(**description["spec"]))
        network.load_state_dict(read_tensors(folder / WEIGHTS))
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: does not fit its weights; train the network again") from error
    return network.to(device=device, memory_format=torch.channels_last).eval(), genotype, description  # type: ignore[call-overload]
