"""What is random in a recorded step is drawn anew in every replay, as in an eager step, and repeats with the seed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor

from benchmarks.gate import Record
from benchmarks.images import random_part
from nascommon.data.batches import training_batches
from nascommon.data.prepared import Part
from nascommon.data.samples import Pixels
from nascommon.data.settings import Augment
from nascommon.runtime.replay import Replay, Step
from nascommon.runtime.seeding import seed_globals
from tests.gpu.small import network_on, on_devices, pairs, smoke, state_of
from tests.runtime.rehearsal import Rehearsal

CALLS = 6
"""Two eager ones, and four replayed."""


def skip_dropout(device: torch.device) -> Step:
    """The supernet whose skips drop out."""
    state = state_of(smoke("darts"), device)
    state.supernet.set_skip_dropout(0.7)
    with torch.no_grad():
        mixing = state.mixing()
    return lambda images: (state.supernet(images, mixing).detach(),)


def drop_path(device: torch.device) -> Step:
    """A network that drops paths."""
    network = network_on(device, drop_path=0.5)
    return lambda images: (network(images).detach(),)


def drawn(name: str) -> Callable[[torch.device], Step]:
    """The mixing weights that a method draws."""

    def make(device: torch.device) -> Step:
        state = state_of(smoke(name), device)
        state.progress = 1.0
        return lambda images: (state.draw("weights")["normal"].weights_EO.detach() + 0 * images[0, 0, 0, 0],)

    return make


DRAWN: dict[str, Callable[[torch.device], Step]] = {
    "skip dropout": skip_dropout,
    "drop-path": drop_path,
    "Dirichlet": drawn("drnas"),
    "uniform noise": drawn("sdarts"),
}


def outputs(
    make: Callable[[torch.device], Step], device: torch.device, record: Record | None, seed: int
) -> list[Tensor]:
    """Return what a step gives on the same pictures again and again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = make(device)
    if record is not None:
        step = Replay(step, record=record)
    images = pairs(device, 1)[0][0].images
    seed_globals(seed, "epoch", 3)
    return [step(images)[0].clone() for _ in range(CALLS)]


@on_devices("what", list(DRAWN), everyday=list(DRAWN))
def test_every_replay_draws_anew_and_the_seed_repeats_it(device: torch.device, what: str, record: Record) -> None:
    make = DRAWN[what]
    first = outputs(make, device, record, seed=0)
    assert_all_differ(first)
    for one, same, eager in zip(
        first, outputs(make, device, record, seed=0), outputs(make, device, None, seed=0), strict=True
    ):
        torch.testing.assert_close(one, same)
        torch.testing.assert_close(one, eager, rtol=1e-3, atol=1e-4)
    other = outputs(make, device, record, seed=1)
    assert not any(
        torch.allclose(one, another, rtol=1e-3, atol=1e-4) for one, another in zip(first, other, strict=True)
    )


def assert_all_differ(found: list[Tensor]) -> None:
    """Compare every one with every other."""
    assert not any(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in combinations(found, 2))


class Frozen(Rehearsal):
    """A recording that draws the same random numbers in every replay."""

    def replay(self) -> None:
        torch.manual_seed(7)
        super().replay()


@pytest.mark.parametrize("what", DRAWN)
def test_a_recording_that_draws_the_same_again_is_noticed(what: str) -> None:
    found = outputs(DRAWN[what], torch.device("cpu"), Frozen, seed=0)
    with pytest.raises(AssertionError):
        assert_all_differ(found)


# -- the pictures, which are made between the replays --


def alike(count: int) -> Part:
    """Return the same picture again and again, all of whose pixels differ."""
    part = random_part(count, side=8)
    assert isinstance(part.samples, Pixels)
    same = torch.arange(3 * 64, dtype=torch.uint8).view(1, 3, 8, 8).expand(count, -1, -1, -1).contiguous()
    return Part(part.manifest, Pixels(same + 1, part.samples.labels))


def epoch(device: torch.device, record: Record, seed: int, key: int, augment: Augment, cutout: int) -> list[Tensor]:
    """Return the pictures that the replays of a step see in an epoch, batch by batch."""
    batches = training_batches(alike(32), 4, augment, seed=seed, device=device, cutout=cutout)
    step = Replay(lambda batch: (batch.images * 1.0,), record=record)
    return [step(batch)[0].clone() for batch in batches.epoch(key)]


@on_devices("what", ["crops", "cutout"], everyday=["crops", "cutout"])
def test_every_batch_is_cut_anew_and_the_seed_repeats_it(device: torch.device, what: str, record: Record) -> None:
    augment, cutout = (
        (Augment(crop_padding=3, flip=False), 0) if what == "crops" else (Augment(crop_padding=0, flip=False), 4)
    )
    first, again, later, other = (
        epoch(device, record, seed, key, augment, cutout) for seed, key in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    for found in (first, later, other):
        assert_all_differ(found)
    for one, *others in zip(first, later, other, strict=True):
        assert_all_differ([one, *others])
