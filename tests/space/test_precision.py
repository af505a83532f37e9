"""With bfloat16 the convolutions are narrow, and everything that learns or is averaged stays wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascommon.data.batch import Batch
from nascommon.search.gradients import arch_gradient
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state
from nascommon.space import abreast, narrowing, supernet
from nascommon.space.abreast import Gathered, gathered
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.operations import search_operation
from nascommon.space.plan import Plan
from nascommon.space.precision import Precision, computing
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import train_step
from nascommon.training.settings import TrainingSettings
from tests.methods.smoke import each_method, smoke_method, smoke_spec
from tests.search.small import CLASSES, CPU
from tests.space.gpu import as_on_a_gpu


def batch(seed: int) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(5, 3, 8, 8, generator=draws), torch.arange(5) % CLASSES)


def state_of(name: str, precision: Precision) -> SearchState:
    method = smoke_method(name)
    spec = smoke_spec(method)
    state = new_state(method, type(spec)(**{**vars(spec), "precision": precision}), seed=0, phase=0, device=CPU)
    state.supernet.train()
    return state


@pytest.mark.parametrize("name", each_method())
def test_weights_logits_and_statistics_stay_float32(name: str) -> None:
    state = state_of(name, "bfloat16")
    if state.method.arch_gradient is not None:
        architecture_step(state, batch(1), batch(2))
    loss, _ = weight_step(state, batch(1))
    assert loss.isfinite()
    kept = [*state.supernet.state_dict().values(), *state.logits.tensors(), loss]
    assert {tensor.dtype for tensor in kept} == {torch.float32, torch.int64}


def test_convolutions_are_computed_in_bfloat16() -> None:
    state = state_of("darts", "bfloat16")
    seen: set[torch.dtype] = set()
    for layer in state.supernet.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _module, _inputs, out: seen.add(out.dtype))
    logits = state.supernet(batch(1).images, state.mixing())
    assert seen == {torch.bfloat16}
    assert logits.dtype == torch.float32


def test_a_gpu_mixes_by_weights_as_wide_as_those_that_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and mixing weights are gathered as they are kept, all in one type, while other weights are narrow."""
    as_on_a_gpu(monkeypatch)
    monkeypatch.setattr(narrowing, "converts_at_once", lambda _: True)
    state, given, parts = state_of("darts", "bfloat16"), set[torch.dtype](), set[torch.dtype]()

    class Seen(Gathered):
        def __init__(self, plan: Plan, weights: Sequence[Tensor], *others: Any, **options: Any) -> None:
            given.update(weights_EO.dtype for weights_EO in weights)
            super().__init__(plan, weights, *others, **options)

    def seen(alike: Sequence[Sequence[Tensor]], like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        parts.update(each.dtype for same in alike for each in [*same, like])
        return gathered(alike, like, dtype)

    monkeypatch.setattr(supernet, "Gathered", Seen)
    monkeypatch.setattr(abreast, "gathered", seen)
    state.supernet(batch(1).images, state.mixing())
    assert given == parts == {torch.float32}


def test_the_architecture_gradient_is_close_to_that_of_float32() -> None:
    def gradient(precision: Precision) -> Tensor:
        found = arch_gradient(state_of("darts", precision), batch(1), batch(2))
        return torch.cat([part.flatten() for part in found])

    narrow, wide = gradient("bfloat16"), gradient("float32")
    assert not torch.equal(narrow, wide)
    assert torch.cosine_similarity(narrow, wide, dim=0) > 0.95


def test_retraining_in_bfloat16_keeps_its_weights_and_both_losses_wide() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5, CLASSES, precision="bfloat16")).train()
    network.drop_probability = 0.2
    data = Batch(torch.randn(4, 3, 32, 32), torch.arange(4) % CLASSES)
    logits, auxiliary = network.forward_auxiliary(data.images)
    assert auxiliary is not None
    assert logits.dtype == auxiliary.dtype == torch.float32
    loss, _ = train_step(network, torch.optim.SGD(network.parameters(), lr=0.1), TrainingSettings(), data)
    assert loss.isfinite()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


class Made(TorchDispatchMode):
    """Counts all tensors that convolutions, norms and what lies between them make, by operation and type."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: Counter[tuple[str, torch.dtype]] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.tensors.update((str(function), leaf.dtype) for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tensors_without_data_have_the_types_that_a_cpu_computes_in(precision: Precision) -> None:
    def made(device: torch.device) -> Counter[tuple[str, torch.dtype]]:
        network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5, CLASSES, precision=precision)).to(device).train()
        network.drop_probability = 0.2
        images = torch.randn(4, 3, 32, 32, device=device)
        with Made() as seen:
            logits, auxiliary = network.forward_auxiliary(images)
            assert auxiliary is not None
            (logits.sum() + auxiliary.sum()).backward()  # type: ignore[no-untyped-call]
        counted: Counter[tuple[str, torch.dtype]] = seen.tensors
        return counted

    without_data = made(torch.device("meta"))
    assert without_data == made(CPU)
    assert (("aten.convolution.default", torch.bfloat16) in without_data) == (precision == "bfloat16")


@pytest.mark.parametrize("name", ["dil_conv_3x3", "dil_conv_5x5", "sep_conv_3x3", "sep_conv_5x5"])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_kernel_of_a_candidate_has_nearly_the_gradient_of_float32(name: str, stride: int) -> None:
    torch.manual_seed(0)
    candidate = search_operation(name, 16, stride)
    images = torch.randn(4, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    slope = torch.randn(4, 16, 32 // stride, 32 // stride)

    def gradients(precision: Precision) -> tuple[Tensor, ...]:
        with computing(images, precision):
            out = candidate(images)
        return torch.autograd.grad((out.float() * slope).sum(), list(candidate.parameters()))

    for narrow, wide in zip(gradients("bfloat16"), gradients("float32"), strict=True):
        assert torch.cosine_similarity(narrow.flatten(), wide.flatten(), dim=0) > 0.98
