"""What lies together is one tensor without a copy, and what is done to it is done to each."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nascommon.runtime.together import as_one, concatenated, joined, lay_together

SHAPES = [(3, 1, 5, 5), (4, 4, 1, 1), (7,), (2, 1, 3, 3)]
NHWC = torch.channels_last


def some(seed: int = 0) -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, dtype=torch.float64, generator=draws) for shape in SHAPES]
    return [nn.Parameter(each.contiguous(memory_format=NHWC) if each.dim() == len("BCHW") else each) for each in made]


def numbers(tensors: list[nn.Parameter]) -> Tensor:
    return torch.cat([each.detach().flatten() for each in tensors])


def test_what_is_laid_together_stays_what_it_was() -> None:
    tensors, others = some(), some()
    ids = [id(each) for each in tensors]
    lay_together(tensors)
    for each, other in zip(tensors, others, strict=True):
        assert torch.equal(each, other)
        assert each.stride() == other.stride()
        assert each.is_leaf
    assert [id(each) for each in tensors] == ids


def test_together_they_are_one_tensor_over_the_same_memory() -> None:
    tensors = some()
    assert as_one(tensors) is None
    lay_together(tensors)
    flat = as_one(tensors)
    assert flat is not None
    assert torch.equal(flat, numbers(some()))
    flat.mul_(2)
    for each, other in zip(tensors, some(), strict=True):
        assert torch.equal(each, 2 * other)


@pytest.mark.parametrize(
    "others",
    [lambda x: x[::-1], lambda x: x[:1] + x[2:], lambda x: [*x[:2], x[2].detach().clone(), x[3]], lambda _: []],
    ids=["in another order", "with one left out", "with one replaced", "nothing"],
)
def test_others_are_not_one_tensor(others: Callable[[list[nn.Parameter]], list[Tensor]]) -> None:
    tensors = some()
    lay_together(tensors)
    assert as_one(others(tensors)) is None
    assert as_one(tensors[1:3]) is not None


def test_a_concatenation_without_a_copy_has_the_gradients_of_one() -> None:
    found = []
    for together in (True, False):
        tensors = some()
        if together:
            lay_together(tensors)
        flat = concatenated(tensors)
        assert (flat.data_ptr() == tensors[0].data_ptr()) == together
        factors = torch.arange(len(flat), dtype=torch.float64).sin()
        firsts = torch.autograd.grad((flat.pow(3) * factors).sum(), tensors, create_graph=True)
        seconds = torch.autograd.grad(sum((each.pow(2).sum() for each in firsts), torch.zeros(())), tensors)
        found.append((flat.detach(), *firsts, *seconds))
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-12, atol=1e-12)


def test_weights_that_need_no_gradient_get_none() -> None:
    tensors = some()
    lay_together(tensors)
    concatenated([tensors[0], tensors[1].detach(), *tensors[2:]]).sum().backward()  # type: ignore[no-untyped-call]
    assert [each.grad is None for each in tensors] == [False, True, False, False]


def test_gradients_of_a_concatenation_lie_together_as_well() -> None:
    tensors = some()
    lay_together(tensors)
    (concatenated(tensors) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    weights, slopes = joined(tensors, [each.grad for each in tensors if each.grad is not None])
    assert len(weights) == len(slopes) == 1
    assert torch.equal(slopes[0], 2 * weights[0])


def test_only_what_lies_together_in_all_lists_is_joined() -> None:
    weights, slopes, loose = some(), some(1), some(2)
    lay_together(weights)
    lay_together(slopes[:2])
    lay_together(slopes[2:])
    assert [len(each) for each in joined(weights)] == [1]
    assert [len(each) for each in joined(weights, slopes)] == [2, 2]
    assert [len(each) for each in joined(weights, slopes, loose)] == [4, 4, 4]
    assert [len(each) for each in joined([], [])] == [0, 0]


def test_numbers_in_another_order_are_not_joined() -> None:
    shape = 2, 3, 2, 2
    plain = [torch.randn(shape) for _ in range(2)]
    pixels = [torch.randn(shape).contiguous(memory_format=NHWC) for _ in range(2)]
    for each in (plain, pixels):
        lay_together(each)
    assert [len(each) for each in joined(plain, pixels)] == [2, 2]
    assert [len(each) for each in joined(pixels, [each.detach() for each in pixels])] == [1, 1]


def test_the_order_of_the_lists_does_not_matter() -> None:
    weights = some()
    lay_together(weights)
    (flat,), (same,) = joined(weights[::-1], weights[::-1])
    assert torch.equal(flat, numbers(some()))
    assert torch.equal(same, flat)


def test_a_concatenation_of_what_lies_in_another_order_is_a_copy() -> None:
    maps = [torch.randn(2, 3, 2, 2).contiguous(memory_format=NHWC) for _ in range(2)]
    lay_together(maps)
    assert as_one(maps) is not None
    assert torch.equal(concatenated(maps), torch.cat([each.flatten() for each in maps]))


def test_holes_and_repetitions_are_not_joined() -> None:
    memory = torch.arange(12.0)
    apart = [memory[:6:2], memory[3:9:2]]  # the second begins where three numbers in a row would end
    assert [len(each) for each in joined(apart)] == [2]
    once = [memory[:1].expand(3), memory[3:6]]
    assert [len(each) for each in joined(once)] == [2]


def test_copies_and_files_hold_the_same_numbers() -> None:
    layers = nn.ModuleList([nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)])
    lay_together(list(layers.parameters()))
    expected = {name: each.clone() for name, each in layers.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(layers.state_dict(), buffer)
    buffer.seek(0)
    other = copy.deepcopy(layers)
    for found in (torch.load(buffer, weights_only=True), other.state_dict()):
        assert all(torch.equal(found[name], each) for name, each in expected.items())
    with torch.no_grad():
        next(other.parameters()).zero_()
    assert torch.equal(layers.state_dict()["0.weight"], expected["0.weight"])
