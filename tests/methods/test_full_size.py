"""Every method takes its steps at the papers' size, in every phase; only the batch is small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nascommon.config import load_params
from nascommon.data.batch import Batch
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.choices import MixedOp
from nascommon.parts.discretizer import strongest_candidates
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.space.space import SPACES
from nascommon.space.supernet import SupernetSpec
from tests.search.small import CPU

PRESETS = Path(__file__).parents[2] / "presets"
pytestmark = pytest.mark.slow


def steps(method: Method, side: int, classes: int) -> SearchState:
    """Take one step of each kind in every phase, dropping candidates in between, and return the last state."""
    space = method.searched(SPACES["darts"])
    base = SupernetSpec(0, 0, classes, space)
    batch = Batch(torch.randn(2, 3, side, side), torch.arange(2))
    state: SearchState | None = None
    for index, phase in enumerate(method.phases):
        if state is not None:
            keep = method.phases[index - 1].keep
            space = space if keep is None else strongest_candidates(state.mixing(), space, keep)
        state = new_state(method, supernet_spec(phase, space, base, method), seed=0, phase=index, device=CPU)
        state.supernet.train()
        state.supernet.set_skip_dropout(phase.skip_dropout)
        if method.arch_gradient is not None:
            architecture_step(state, batch, batch)
        loss, _ = weight_step(state, batch)
        assert bool(loss.isfinite())
    assert state is not None
    return state


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_method_steps_at_the_size_of_the_papers(name: str) -> None:
    params = load_params(PRESETS / "cifar10.yaml")
    method = REGISTRY[name].recipe(getattr(params.methods, name), SearchSize(16, 8, SPACES["darts"]))
    state = steps(method, 32, 10)
    assert state.genotype()["normal"].edges >= (0 if name == "fairdarts" else 8)
    if name == "pdarts":
        assert [phase.cells for phase in method.phases] == [5, 11, 17]
        assert len(state.spec.space.candidates["normal"][0]) == 3


def test_pcdarts_steps_on_imagenet_pictures_as_released() -> None:
    params = load_params(PRESETS / "imagenet.yaml")
    method = params.method()
    assert (method.mixed_op, method.batch_size) == (MixedOp(channel_divisor=2, stem="imagenet"), 1024)
    assert method.arch_gradient is not None
    assert (method.phases[0].warmup, method.arch_gradient.optimiser.lr, method.arch_gradient.optimiser.clip) == (
        35,
        6e-3,
        5.0,
    )
    assert (method.weights.lr, method.weights.lr_min, method.weights.warmup_epochs) == (0.5, 0.0, 5)
    assert params.data.search_fraction * (1 - params.data.architecture_fraction) == pytest.approx(0.1)
    assert params.data.search_fraction * params.data.architecture_fraction == pytest.approx(0.025)
    state = steps(method, 224, 1000)
    widths = [conv.out_channels for conv in state.supernet.stem.modules() if isinstance(conv, torch.nn.Conv2d)]
    assert widths == [24, 48, 48]
