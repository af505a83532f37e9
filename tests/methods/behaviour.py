"""What a record does, in a form that compares: two records are alike if all their parts compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.logits import CellLogits, Logits
from nascommon.parts.relaxation import Relaxation
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.space import SPACES, Space
from nascommon.space.topology import Topology
from tests.space.kinds import space_of, two

TOPOLOGY = Topology()
SIZE = SearchSize(16, 8, SPACES["darts"])
TIMES = (0.0, 0.1, 0.3, 1.0)
"""Progress at which parts are asked."""
GENOTYPES = 8
"""Mixing weights that a discretizer is asked about."""


def record(name: str, **settings: Any) -> Method:
    """Return the record of a method on the papers' supernet."""
    entry = REGISTRY[name]
    return entry.recipe(entry.settings.model_validate(settings), SIZE)


def behaviour(method: Method) -> dict[str, Any]:
    """Return all choices of a method: values as they are, functions by what they answer."""
    return {name: answer(method) for name, answer in ANSWERS.items()}


def alike(one: Method, other: Method) -> bool:
    """Say whether two methods do the same; what is quickly told apart is asked first."""
    return all(answer(one) == answer(other) for answer in ANSWERS.values())


def _initial(method: Method) -> dict[str, list[float]]:
    draws = torch.Generator().manual_seed(0)
    named = method.initialise(_space(method).cells.main, draws).named()
    return {name: tensor.flatten().tolist() for name, tensor in named.items()}


def _space(method: Method) -> Space:
    return method.searched(SPACES["darts"])


@cache
def _wide(operations: int, seed: int) -> Logits:
    """Return logits so different that no two candidates or edges tie."""
    draws = torch.Generator().manual_seed(seed)
    alphas = [2 * torch.randn(len(TOPOLOGY.edges), operations, generator=draws, dtype=torch.float64) for _ in range(2)]
    betas = [torch.randn(len(TOPOLOGY.edges), generator=draws, dtype=torch.float64) for _ in range(2)]
    return two(
        Logits, *(CellLogits(a.requires_grad_(), b.requires_grad_()) for a, b in zip(alphas, betas, strict=True))
    )


def _logits(method: Method, seed: int = 0) -> Logits:
    return _wide(_space(method).cells.main.operations, seed)


def _plain(mixing: CellMixing) -> list[Any]:
    edges = None if mixing.edges_E is None else mixing.edges_E.tolist()
    return [mixing.weights_EO.tolist(), edges, mixing.active]


def _relaxed(method: Method, relax: Relaxation) -> list[Any]:
    return [_plain(relax(_logits(method)["normal"], _space(method).cells.main, t)) for t in TIMES]


def _drawn(method: Method) -> list[Any] | None:
    """Return the draws and their gradients, where a straight-through draw keeps its temperature."""
    if method.sample is None:
        return None
    answers: list[Any] = [method.sample.uses]
    logits, space = _logits(method)["normal"], _space(method).cells.main
    for t in TIMES:
        torch.manual_seed(1)
        drawn = method.sample.draw(logits, method.relax(logits, space, t), space, t)
        answers += [_plain(drawn), *_slopes(drawn.weights_EO.pow(2).sum() + drawn.weights_EO[:, 0].sum(), [logits])]
    return answers


def _penalised(method: Method) -> list[Any]:
    logits = _logits(method)
    answers: list[Any] = []
    for t in TIMES:
        value = method.penalty(logits, _space(method), t)
        answers += [value.item(), *_slopes(value, [logits["normal"], logits["reduction"]])]
    return answers


def _slopes(value: Tensor, cells: list[CellLogits]) -> Iterator[list[float]]:
    tensors = [tensor for cell in cells for tensor in cell.named().values()]
    if value.requires_grad:
        for slope in torch.autograd.grad(value, tensors, materialize_grads=True):
            yield slope.flatten().tolist()


def _with_skips(skips: int) -> Genotype:
    nodes = tuple(
        tuple(Choice("skip_connect" if 2 * node + i < skips else "sep_conv_3x3", i) for i in range(2))
        for node in range(4)
    )
    cell = CellGenotype(nodes, (2, 3, 4, 5))
    return two(Genotype, cell, cell)


def _discretized(method: Method) -> list[Any]:
    """Return genotypes of many mixing weights, half of them in favour of skips."""
    genotypes = []
    names = _space(method).candidates.main[0]
    for seed in range(GENOTYPES):
        draws = torch.Generator().manual_seed(seed)
        weights = torch.rand(2, len(TOPOLOGY.edges), len(names), generator=draws)
        if "skip_connect" in names and seed % 2:
            weights[..., names.index("skip_connect")] += 0.5
        edges = torch.rand(2, len(TOPOLOGY.edges), generator=draws)
        mixing = two(Mixing, *(CellMixing(w, 0.9 + 0.1 * e) for w, e in zip(weights, edges, strict=True)))
        genotypes.append(method.discretize(mixing, space_of(names, TOPOLOGY)).to_json())
    read = method.discretize.read
    return [*genotypes, read and _relaxed(method, read)]


ASKED: dict[str, Callable[[Method], Any]] = {
    "weights": lambda method: method.weights.model_dump(),
    "phases": lambda method: [asdict(phase) for phase in method.phases],
    "initialise": _initial,
    "relax": lambda method: _relaxed(method, method.relax),
    "sample": _drawn,
    "penalty": _penalised,
    "stop": lambda method: method.stop and [method.stop(_with_skips(skips)) for skips in range(9)],
    "discretize": _discretized,
}
VALUES = {field.name: attrgetter(field.name) for field in fields(Method) if field.name not in ASKED}
ANSWERS: dict[str, Callable[[Method], Any]] = VALUES | ASKED
"""Comparable values by the fields of the record."""
