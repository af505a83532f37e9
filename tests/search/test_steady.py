"""Steps can be recorded as CUDA graphs: they never wait for the device, copy nothing to it, and never change shape.

There need be no GPU for it: tensors on the ``meta`` device have no values, so whoever asks for one fails, and whatever
is copied to it from the host is seen. Both are what a recording forbids.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascommon.data.batch import Batch
from nascommon.method import ArchGradient
from nascommon.parts.choices import Approximation, Unrolled, UnrolledExact
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import train_step
from nascommon.training.settings import TrainingSettings
from tests.methods.smoke import METHODS, each_method, smoke_method, smoke_spec
from tests.search.small import CLASSES, CPU
from tests.space.gpu import as_on_a_gpu

META = torch.device("meta")
VARYING = {"gdas", "random"}
"""Methods that decide in every step what is computed."""
STEADY = [name for name in METHODS if name not in VARYING]
WITHOUT_VALUES = [name for name in STEADY if name != "drnas"]
"""PyTorch cannot draw from a Dirichlet distribution on ``meta``."""


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)


class OnDevice(TorchDispatchMode):
    """Fails where a step reads a value or copies from the host; lists all operations with the shapes of results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.log: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given, made = tensors((args, kwargs)), tensors(result)
        assert "_local_scalar_dense" not in str(function), "a value is read"
        from_host = [x for x in given if x.device.type == "cpu" and x.dim() > 0]
        assert not (from_host and any(x.is_meta for x in [*given, *made])), f"{function} copies from the host"
        self.log.append((str(function), tuple(tuple(x.shape) for x in made)))
        return result


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def batch(device: torch.device, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(5, 3, 8, 8, generator=draws).to(device)
    return Batch(images, (torch.arange(5) % CLASSES).to(device))


def started(name: str, device: torch.device, **changes: Any) -> SearchState:
    """Return a state after a first step of each kind, when the optimisers have theirs."""
    method = replace(smoke_method(name), **changes)
    state = new_state(method, smoke_spec(method), seed=0, phase=0, device=device)
    state.supernet.train()
    state.supernet.set_skip_dropout(0.3)
    step(state, 0)
    return state


def step(state: SearchState, seed: int) -> None:
    device = state.logits["normal"].alpha_EO.device
    if device.type == "meta" and state.arch_optimiser is not None:
        # On a GPU Adam is ``capturable``: its own matter, and PyTorch's to keep.
        state.arch_optimiser.step = lambda *_: None  # type: ignore[method-assign]
    both_steps(state, batch(device, seed), batch(device, seed + 1))


def both_steps(state: SearchState, train: Batch, valid: Batch) -> None:
    """Take a bilevel step; methods that learn no architecture take its second half."""
    if state.method.arch_gradient is not None:
        architecture_step(state, train, valid)
    weight_step(state, train)


@pytest.mark.parametrize("name", each_method(WITHOUT_VALUES))
def test_a_step_never_waits_for_the_device_nor_copies_to_it(name: str) -> None:
    state = started(name, META)
    prepared = [batch(META, seed) for seed in (1, 2)]
    with OnDevice() as device:
        both_steps(state, *prepared)
    assert len(device.log) > 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Unrolled(), UnrolledExact()], ids=str)
def test_nor_does_an_unrolled_step(kind: Approximation) -> None:
    state = started("darts", META, arch_gradient=ArchGradient(kind))
    prepared = [batch(META, seed) for seed in (1, 2)]
    with OnDevice():
        architecture_step(state, *prepared)


@pytest.mark.parametrize("name", each_method(STEADY))
def test_every_step_does_the_same_operations_on_the_same_shapes(name: str) -> None:
    state = started(name, CPU)
    logs = []
    for seed in (3, 7):
        with OnDevice() as device:
            weight_step(state, batch(CPU, seed))
        logs.append(device.log)
    assert logs[0] == logs[1]
    assert not state.varies


@pytest.mark.parametrize("name", sorted(VARYING))
def test_a_method_that_decides_what_is_computed_says_so(name: str) -> None:
    assert started(name, CPU).varies


def test_nor_does_a_step_of_retraining_with_auxiliary_head_and_drop_path() -> None:
    settings = TrainingSettings(label_smoothing=0.1)
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(8, 5)).to(META).train()
    network.drop_probability = 0.2
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images, labels = torch.randn(4, 3, 32, 32).to(META), torch.arange(4).to(META)
    train_step(network, optimiser, settings, Batch(images, labels))
    with OnDevice() as device:
        train_step(network, optimiser, settings, Batch(images, labels))
    assert len(device.log) > 100
