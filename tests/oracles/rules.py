"""The published facts that tests compare with, and the rules by which they were measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.space import Space
from tests.space.kinds import two

HERE = Path(__file__).parent


def oracle(name: str) -> dict[str, Any]:
    """Return the facts of ``name``.json; their ``origin`` says who measured or published them."""
    tree: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return tree


def facts() -> dict[str, Any]:
    """Return numbers measured with the released codes."""
    return oracle("facts")


def genotypes() -> dict[str, Any]:
    """Return the published genotypes as the released codes list them."""
    tree: dict[str, Any] = oracle("genotypes")["genotypes"]
    return tree


def fill(module: nn.Module) -> None:
    """Turn ``module`` to float64 and give every parameter the value that the oracles were measured with."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                i = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
                values = torch.sin(0.6180339887 * i * i) * math.sqrt(2 / parameter[0].numel())
                parameter.copy_(values.reshape(parameter.shape))
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                layer.bias.zero_()


def cosine_images(*shape: int) -> Tensor:
    """Return the images that the oracles were measured with."""
    return torch.cos(0.37 * torch.arange(math.prod(shape), dtype=torch.float64)).reshape(shape)


def sinusoid(edges: int, operations: int, phase: float) -> Tensor:
    """Return the logits that the oracles were measured with."""
    i = torch.arange(1, edges * operations + 1, dtype=torch.float64)
    return torch.sin(1.3 * i + phase).reshape(edges, operations)


def sinusoid_mixing(space: Space) -> Mixing:
    """Return softmax mixing weights of the oracles' logits: phase 0 in normal and 0.5 in reduction cells."""
    cell = space.cells.main
    edges, operations = len(cell.candidates), cell.operations
    return two(Mixing, *(CellMixing(sinusoid(edges, operations, phase).softmax(-1)) for phase in (0.0, 0.5)))
