"""Searches and trainings of a second, on whatever device, and which tests run on which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from benchmarks.images import CLASSES, random_part
from nascommon.data.batch import Batch
from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.settings import Augment
from nascommon.data.task import Task
from nascommon.method import Method
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.search.passes import SearchData
from nascommon.search.state import SearchState, new_state
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.published import PUBLISHED
from nascommon.space.space import Space
from nascommon.space.supernet import SupernetSpec
from tests.methods.smoke import METHODS, SIZE, smoke_method, smoke_spec

VARYING = ("gdas", "random")
"""Methods that decide in every step what is computed, so that none can be recorded."""
STEADY = [name for name in METHODS if name not in VARYING]
SIDE, BATCH = 8, 8
IMAGES = 6 * BATCH
"""Pictures of either half: six batches an epoch, of which four are replayed."""


def on_devices(name: str, values: Sequence[Any], everyday: Sequence[Any]) -> pytest.MarkDecorator:
    """Run a test with all values on a GPU, and with a few of them, but some, on a CPU as an everyday test."""
    assert everyday, "a call that only a GPU makes is wrong for long before anybody sees it"
    few = [pytest.param("cpu", value, id=f"cpu-{value}") for value in everyday]
    all_of_them = [pytest.param("cuda", value, id=f"cuda-{value}", marks=pytest.mark.gpu) for value in values]
    return pytest.mark.parametrize(("device", name), [*few, *all_of_them], indirect=["device"])


def state_of(
    method: Method, device: torch.device, precision: Precision = "float32", space: Space = SIZE.space
) -> SearchState:
    """Return a fresh state half-way through a phase whose skips drop out."""
    spec = replace(smoke_spec(method, space), precision=precision)
    state = new_state(method, spec, seed=0, phase=0, device=device)
    state.supernet.train()
    state.supernet.set_skip_dropout(0.3)
    state.progress = 0.5
    return state


def pairs(device: torch.device, count: int) -> list[tuple[Batch, Batch]]:
    """Return batches of both halves, a pair a step; labels suit the smoke supernet."""

    def one(seed: int) -> Batch:
        draws = torch.Generator().manual_seed(seed)
        images = torch.randn(BATCH, 3, SIDE, SIDE, generator=draws)
        return Batch(images.to(device), (torch.arange(BATCH) % 4).to(device))

    return [(one(2 * step), one(2 * step + 1)) for step in range(count)]


def search_data(device: torch.device) -> SearchData:
    """Return random pictures on the device, cropped, mirrored and cut out."""
    part = random_part(IMAGES, SIDE)
    weights, architecture = (
        training_batches(part, BATCH, Augment(crop_padding=1), seed=seed, device=device, cutout=2) for seed in (1, 2)
    )
    return SearchData(weights, architecture, evaluation_batches(part, BATCH, device=device))


def base_spec(method: Method, precision: Precision = "float32") -> SupernetSpec:
    """Return the supernet that a search of these pictures begins with."""
    return replace(smoke_spec(method), classes=CLASSES, precision=precision)


def network_on(device: torch.device, drop_path: float) -> Network:
    """Return a network with auxiliary head that is trained on pictures of 32 pixels."""
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5, CLASSES)).to(device).train()
    network.drop_probability = drop_path
    return network


@dataclass(frozen=True)
class AnnouncedBatches:
    """Batches that call ``start`` when an epoch of them begins."""

    batches: Batches
    start: Callable[[], None]

    @property
    def task(self) -> Task:
        return self.batches.task

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        self.start()
        yield from self.batches.epoch(key, share)


def smoke(name: str, **changes: Any) -> Method:
    """Return a method at smoke scale with the batch of these pictures."""
    return smoke_method(name, batch_size=BATCH, **changes)
