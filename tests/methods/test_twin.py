"""The fast supernet equals the plain twin in the outputs and gradients of every method, whatever it draws."""

from __future__ import annotations

import pytest
import torch

from benchmarks.twin import Twin
from nascommon.search.state import new_state
from nascommon.space import fan
from tests.methods.smoke import each_method, smoke_method, smoke_spec
from tests.search.small import CPU
from tests.space.gpu import as_on_a_gpu
from tests.space.test_supernet import assert_same, images


@pytest.mark.parametrize("name", each_method())
@pytest.mark.parametrize(("seed", "way"), [(1, "small maps"), (2, "large maps"), (3, "gpu")])
def test_outputs_and_all_gradients_of_a_method_equal_the_plain_twin(
    name: str, seed: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "large maps":
        monkeypatch.setattr(fan, "STACKED", 0)
    if way == "gpu":
        as_on_a_gpu(monkeypatch)
    torch.manual_seed(seed)  # samplers draw from the global generator
    method = smoke_method(name)
    state = new_state(method, smoke_spec(method), seed=3, phase=0, device=CPU)
    state.supernet.double().train()
    state.supernet.lay_together()  # again, as weights of another type lie elsewhere; a CPU's stay where they are
    for tensor in state.logits.tensors():
        tensor.data = torch.randn(tensor.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    state.progress = 0.5
    mixing = state.draw("architecture")
    weights = dict(state.supernet.named_parameters())
    slope = torch.randn(3, state.spec.classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs = state.supernet(images(), mixing), Twin(state.spec, weights, mixing).logits(images())
    assert_same(*outputs)
    wanted = {**weights, **state.logits.named()}
    gradients = [
        torch.autograd.grad((out * slope).sum(), list(wanted.values()), retain_graph=True, materialize_grads=True)
        for out in outputs
    ]
    for key, ours, theirs in zip(wanted, *gradients, strict=True):
        assert_same(ours, theirs, key)
