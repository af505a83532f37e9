"""Feature maps stay in channels-last layout through a step, gradients included: nothing has to be converted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascommon.runtime.optimisers import sgd
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import train_step
from nascommon.training.settings import TrainingSettings
from tests.methods.smoke import each_method
from tests.search.small import CPU
from tests.search.test_steady import batch, both_steps, started
from tests.space.gpu import as_on_a_gpu

BATCH, IMAGE_CHANNELS = 5, 3


@pytest.fixture(autouse=True, params=["cpu", "gpu"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "gpu":
        as_on_a_gpu(monkeypatch)


COMPUTING = ("convolution", "batch_norm", "pool2d", "relu", "threshold", "add", "mul", "cat")


class Layouts(TorchDispatchMode):
    """Lists what is computed from a feature map whose pixels, not channels, are neighbours in memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[str, tuple[int, ...]]] = []
        self.maps = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(function) for name in COMPUTING):
            maps = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and is_map(leaf)]
            self.found += [(str(function), tuple(each.shape)) for each in maps if each.stride(1) > each.stride(3)]
            self.maps += len(maps)
        return function(*args, **(kwargs or {}))


def is_map(tensor: Tensor) -> bool:
    """Return whether it is [B, C, H, W] of several pixels and more channels than an image; kernels are not."""
    return tensor.dim() == 4 and len(tensor) == BATCH and tensor.shape[1] > IMAGE_CHANNELS and tensor[0, 0].numel() > 1


@pytest.mark.parametrize("name", each_method())
def test_a_bilevel_step_keeps_the_layout(name: str) -> None:
    state = started(name, CPU)
    prepared = [batch(CPU, seed) for seed in (1, 2)]
    with Layouts() as layouts:
        both_steps(state, *prepared)
    assert layouts.found == []
    assert layouts.maps > 50


@pytest.mark.parametrize("name", ["DARTS_V2", "PDARTS"])
def test_a_training_step_keeps_the_layout(name: str) -> None:
    network = Network(PUBLISHED[name], NetworkSpec(8, 5)).to(memory_format=torch.channels_last).train()
    network.drop_probability = 0.2
    optimiser = sgd(network, lr=0.1, momentum=0.9, weight_decay=0.0)
    with Layouts() as layouts:
        train_step(network, optimiser, TrainingSettings(), batch(CPU))
    assert layouts.found == []
    assert layouts.maps > 50
