"""A sampler draws what one forward pass uses instead of the mixing weights themselves.

Random numbers come from torch's global generator, which the search seeds anew for every epoch.
Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.parts.control import Control, Progress
from nascommon.parts.logits import CellLogits
from nascommon.space.draws import sample_cell
from nascommon.space.mixing import CellMixing, one_hot_cell, operation_columns
from nascommon.space.space import CellSpace

Sampler = Callable[[CellLogits, CellMixing, CellSpace, Progress], CellMixing]
"""(logits, mixing weights, space, progress) -> the weights of one forward pass, drawn anew for each."""
LEAST = 1e-6
"""Smallest concentration of a Dirichlet distribution, which must not be 0."""
SKIP = "skip_connect"


def random_path(_logits: CellLogits, mixing: CellMixing, space: CellSpace, _progress: Progress) -> CellMixing:
    """Draw one architecture in proportion to the mixing weights and give its operations weight one."""
    cell = sample_cell(mixing, space)
    return one_hot_cell(cell, space, like=mixing.weights_EO)


def gumbel(temperature: Control) -> Sampler:
    """Draw soft weights: softmax of (ln p + Gumbel noise) / temperature, the concrete distribution (SNAS, eq. 4)."""

    def draw(_logits: CellLogits, mixing: CellMixing, _space: CellSpace, progress: Progress) -> CellMixing:
        return replace(mixing, weights_EO=_concrete(mixing.weights_EO, temperature(progress)))

    draw.__name__ = "soft Gumbel draw"
    return draw


def gumbel_one_hot(temperature: Control) -> Sampler:
    """Draw one operation per edge and pass the gradient of the soft draw straight through (GDAS, eqs. 3 and 4)."""

    def draw(_logits: CellLogits, mixing: CellMixing, _space: CellSpace, progress: Progress) -> CellMixing:
        soft_EO = _concrete(mixing.weights_EO, temperature(progress))
        chosen_E = soft_EO.argmax(dim=-1)
        hard_EO = _one_at(chosen_E, soft_EO)
        active = tuple((choice,) for choice in chosen_E.tolist())
        return replace(mixing, weights_EO=hard_EO - soft_EO.detach() + soft_EO, active=active)

    draw.__name__ = "one operation per edge by Gumbel, straight through"
    return draw


def _concrete(weights_EO: Tensor, temperature: float | Tensor) -> Tensor:
    noise_EO = -torch.empty_like(weights_EO).exponential_().log()
    return ((weights_EO.clamp(min=torch.finfo(weights_EO.dtype).tiny).log() + noise_EO) / temperature).softmax(dim=-1)


def _uniform(like_EO: Tensor, reach: float | Tensor) -> Tensor:
    """Return uniform noise in [-reach, reach]."""
    if isinstance(reach, Tensor):  # which is where ``uniform_`` would have to wait for it
        return reach * torch.empty_like(like_EO).uniform_(-1, 1)
    return torch.empty_like(like_EO).uniform_(-reach, reach)


def _one_at(chosen_E: Tensor, like_EO: Tensor) -> Tensor:
    """Return one at the chosen candidate of each edge and zero elsewhere, without looking at the values."""
    return torch.zeros_like(like_EO).scatter(1, chosen_E[:, None], 1.0)


def dirichlet(logits: CellLogits, mixing: CellMixing, _space: CellSpace, _progress: Progress) -> CellMixing:
    """Draw each edge's weights from the Dirichlet with concentration elu(alpha) + 1, pathwise gradient (DrNAS)."""
    # elu(alpha) + 1 rounds to 0 for alpha below -17.
    concentration_EO = (functional.elu(logits.alpha_EO) + 1).clamp(min=LEAST)
    # Checking the concentration would wait for the device; it is positive by construction.
    return replace(mixing, weights_EO=torch.distributions.Dirichlet(concentration_EO, validate_args=False).rsample())


def auxiliary_skip(strength: Control) -> Sampler:
    """Add ``strength`` to the weight of every skip connection: the auxiliary skip of DARTS- (eq. 5), shared with it."""

    def add(_logits: CellLogits, mixing: CellMixing, space: CellSpace, progress: Progress) -> CellMixing:
        names, column_EO = operation_columns(space.candidates, mixing.weights_EO.device)
        skip = names.index(SKIP) if SKIP in names else -1
        extra_EO = strength(progress) * (column_EO == skip).to(mixing.weights_EO.dtype)
        return replace(mixing, weights_EO=mixing.weights_EO + extra_EO)

    add.__name__ = "auxiliary skip that fades"
    return add


def perturbed(radius: Control) -> Sampler:
    """Add uniform noise of ``radius`` to the mixing weights and bring each edge back to the simplex (SDARTS-RS, eq. 5).

    As released: clamp to [0, 1] and divide by the sum; an edge with nothing left keeps its heaviest.
    """

    def draw(_logits: CellLogits, mixing: CellMixing, _space: CellSpace, progress: Progress) -> CellMixing:
        weights_EO = mixing.weights_EO
        reach = radius(progress)
        moved_EO = weights_EO + _uniform(weights_EO, reach)
        heaviest_EO = _one_at(moved_EO.argmax(dim=-1), moved_EO)
        inside_EO = moved_EO.clamp(0, 1)
        left_E1 = inside_EO.sum(dim=-1, keepdim=True)
        inside_EO = torch.where(left_E1 > 0, inside_EO, heaviest_EO)
        return replace(mixing, weights_EO=inside_EO / inside_EO.sum(dim=-1, keepdim=True))

    draw.__name__ = "uniform noise that grows"
    return draw
