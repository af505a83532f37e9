"""Searches small enough for tests: random images in memory, few channels, float64 where maths is compared."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.data.batch import Batch
from nascommon.data.task import CLASSIFICATION
from nascommon.method import Method, Phase, WeightOptimiser
from nascommon.parts.logits import CellLogits
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.runtime.seeding import generator
from nascommon.search.passes import SearchData
from nascommon.search.state import SearchState, new_state
from nascommon.space.space import CellSpace
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.space.kinds import space_of

CPU = torch.device("cpu")
CLASSES = 4
SOME = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")
"""Candidates enough to tell good from wrong, at half the cost of all eight."""


class TinyBatches:
    """Random images whose order depends on the key of the epoch alone; the last batch may be smaller."""

    task = CLASSIFICATION

    def __init__(self, count: int = 10, batch_size: int = 5, *, seed: int = 0, side: int = 8,
                 dtype: torch.dtype = torch.float32, shuffled: bool = True) -> None:  # fmt: skip
        draws = generator(seed, "images")
        self.labels = torch.arange(count) % CLASSES
        noise = torch.randn(count, 3, side, side, generator=draws)
        self.images = (noise + self.labels[:, None, None, None]).to(dtype)
        self.batch_size, self.seed, self.shuffled = batch_size, seed, shuffled

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", key))
        order = order if self.shuffled else torch.arange(len(self.labels))
        starts = range(0, len(order), self.batch_size)
        for start in starts if self.shuffled else starts[share.index :: share.count]:
            count = min(self.batch_size, len(order) - start)
            rows = order[(share if self.shuffled else WHOLE).rows(start, start + count)]
            yield Batch(self.images[rows], self.labels[rows], whole=None if share == WHOLE else count, share=share)


class NoNumbersFrom(TinyBatches):
    """Batches that are NaN from an epoch on, as what comes of a rate too high."""

    def __init__(self, epoch: int, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.first = epoch

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        for batch in super().epoch(key, share):
            yield batch if key < self.first else replace(batch, images=batch.images * torch.nan)


def tiny_data(dtype: torch.dtype = torch.float32) -> SearchData:
    """Return two batches of five for the weights, and another half for the architecture."""
    architecture = TinyBatches(seed=2, dtype=dtype)
    return SearchData(TinyBatches(seed=1, dtype=dtype), architecture, TinyBatches(seed=2, dtype=dtype, shuffled=False))


def wide_alpha(space: CellSpace, draws: torch.Generator) -> CellLogits:
    """Draw logits in float64, so different that every candidate matters."""
    return CellLogits(torch.randn(len(space.candidates), space.operations, generator=draws, dtype=torch.float64))


def tiny_method(**changes: Any) -> Method:
    """Return DARTS on three cells of four channels in one phase of two epochs, with ``changes``."""
    method = Method(
        phases=(Phase(2, 4, 3),),
        batch_size=5,
        weights=WeightOptimiser(lr=0.1),
        initialise=wide_alpha,
        relax=softmax_over_operations,
    )
    return replace(method, **changes)


def tiny_spec(nodes: int = 2, channels: int = 4, cells: int = 3) -> SupernetSpec:
    """Return a supernet in which every edge has the same five candidates."""
    topology = Topology(nodes)
    return SupernetSpec(channels, cells, CLASSES, space_of(SOME, topology))


def double_state(method: Method | None = None, *, nodes: int = 2, seed: int = 0) -> SearchState:
    """Return a fresh state in float64, in training mode."""
    state = new_state(method or tiny_method(), tiny_spec(nodes), seed=seed, phase=0, device=CPU)
    state.supernet.double().train()
    return state


def adam(state: SearchState) -> torch.optim.Adam:
    """Return the optimiser of logits that are learned."""
    assert state.arch_optimiser is not None
    return state.arch_optimiser


def batch(seed: int, count: int = 8, side: int = 8) -> Batch:
    """Return random images and labels in float64."""
    draws = generator(seed, "batch")
    images = torch.randn(count, 3, side, side, generator=draws, dtype=torch.float64)
    return Batch(images, torch.randint(CLASSES, (count,), generator=draws))


def frozen(state: SearchState) -> dict[str, Any]:
    """Return a deep copy of everything in the state."""
    return copy.deepcopy(state.state_dict())


def equal(one: Any, other: Any) -> bool:
    """Say whether two trees are bit-identical."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, Batch):
        return isinstance(other, Batch) and equal(tuple(one), tuple(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def plain_loss(state: SearchState, data: Batch) -> Tensor:
    """Return the cross entropy of the supernet as it stands, with a graph to weights and logits."""
    return functional.cross_entropy(state.supernet(data.images, state.mixing()), data.labels)
