"""Weights that are converted at once are those that autocast converts one by one, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nascommon.space import narrowing
from nascommon.space.narrowing import narrow_weights
from nascommon.space.precision import computing
from tests.operations import Operations


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False), nn.Flatten(), nn.Linear(64, 2)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(narrowing, "converts_at_once", lambda _: request.param)
    return bool(request.param)


def test_gradients_come_to_the_weights_as_with_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for answer in (True, False):
        monkeypatch.setattr(narrowing, "converts_at_once", lambda _, answer=answer: answer)
        made = net()
        with computing(IMAGES, "bfloat16"), narrow_weights(made.modules(), IMAGES, "bfloat16"):
            assert (made[0].weight.dtype == torch.bfloat16) is answer
            out = made(IMAGES)
        assert all(weight.dtype == torch.float32 for weight in made.parameters())
        out.float().square().sum().backward()
        found.append([out, *(weight.grad for weight in made.parameters())])
    assert all(torch.equal(mine, other) for mine, other in zip(*found, strict=True))
    assert found[0][1].is_contiguous(memory_format=torch.channels_last)


def test_weights_are_converted_by_one_operator_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "converts_at_once", lambda _: True)
    made = net()
    with Operations() as done, computing(IMAGES, "bfloat16"), narrow_weights(made.modules(), IMAGES, "bfloat16"):
        loss = made(IMAGES).float().sum()
    assert done.names.count("_foreach_copy_") == 1
    with Operations() as done:
        loss.backward()
    assert done.names.count("_foreach_copy_") == 1


def test_second_derivatives_pass_the_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "converts_at_once", lambda _: True)
    layer = nn.Linear(3, 1, bias=False)
    x = torch.ones(1, 3)
    with computing(x, "bfloat16"), narrow_weights([layer], x, "bfloat16"):
        out = layer(x).float()
    weight = layer.weight
    (slope,) = torch.autograd.grad((out**2).sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), weight)
    assert second.tolist() == [[6.0] * 3]


def test_weights_are_back_where_a_pass_fails(at_once: bool) -> None:
    made = net()
    before = list(made.parameters())
    with pytest.raises(RuntimeError), narrow_weights(made.modules(), IMAGES, "bfloat16"):
        raise RuntimeError
    assert all(mine is other for mine, other in zip(before, made.parameters(), strict=True))


def test_float32_stays_as_it_is(at_once: bool) -> None:
    made = net()
    with narrow_weights(made.modules(), IMAGES, "float32"):
        assert made[0].weight.dtype == torch.float32
