"""Nodes are the sums of what enters them, and so are their gradients, whatever is added in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nascommon.kernels.handed import Handed
from nascommon.kernels.nodes import Nodes
from nascommon.kernels.pointwise import product
from tests.operations import Operations

X, COUNT = 3, 3
Given = tuple[Tensor, ...]


def maps(channels: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(10 * channels + seed)
    made = torch.randn(2, channels, 2, 3, dtype=torch.float64, generator=draws)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def matrix(rows: int, columns: int) -> Tensor:
    draws = torch.Generator().manual_seed(rows + columns)
    return torch.randn(rows, columns, dtype=torch.float64, generator=draws, requires_grad=True)


def given() -> Given:
    """Return a map and a matrix to all nodes, another pair, a pair to the last two, one to the last, and a term."""
    return (
        maps(4), matrix(COUNT * X, 4), maps(2), matrix(COUNT * X, 2), matrix(2 * X, X), matrix(X, X), maps(X, 1),
    )  # fmt: skip


def ours(outputs: list[int], begun: bool) -> Callable[..., Tensor]:
    def computed(*given: Tensor) -> Tensor:
        first, wide, second, narrow, two, one, term = given
        nodes = Nodes(COUNT, X, (2, 2, 3), first.detach())
        if begun:
            nodes.add(1, term)
        nodes.multiply(0, [(Handed(first), wide), (Handed(second), narrow)])
        if not begun:
            nodes.add(1, term)
        nodes.multiply(1, [(Handed(nodes.node(0).sin()), two)])
        nodes.multiply(2, [(Handed(nodes.node(1).sin()), one)])
        return nodes.beside(outputs).cos()

    return computed


def plain(outputs: list[int]) -> Callable[..., Tensor]:
    def computed(*given: Tensor) -> Tensor:
        first, wide, second, narrow, two, one, term = given
        parts = [*torch.split(product(first, wide) + product(second, narrow), X, dim=1)]
        more = torch.split(product(parts[0].sin(), two), X, dim=1)
        parts[1:] = parts[1] + term + more[0], parts[2] + more[1]
        parts[2] = parts[2] + product(parts[1].sin(), one)
        return torch.cat([parts[output] for output in outputs], dim=1).cos()

    return computed


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("outputs", [[0, 1, 2], [2], [2, 0]])
def test_sums_and_gradients_are_the_plain_ones(outputs: list[int], begun: bool) -> None:
    inputs = given()
    found, expected = ours(outputs, begun)(*inputs), plain(outputs)(*inputs)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    slope = maps(len(outputs) * X, 5).detach()
    kept = slope.clone()
    gradients = [torch.autograd.grad(out, inputs, slope, retain_graph=True) for out in (found, found, expected)]
    torch.testing.assert_close(gradients[0], gradients[2])
    torch.testing.assert_close(gradients[1], gradients[2])  # nothing that was kept has been added to
    assert torch.equal(slope, kept)


@pytest.mark.parametrize("outputs", [[0, 1, 2], [2]])
def test_gradients_can_be_differentiated_again(outputs: list[int]) -> None:
    inputs, slope = given(), maps(len(outputs) * X, 5).detach()
    found = []
    for way in (ours(outputs, begun=False), plain(outputs)):
        gradients = torch.autograd.grad(way(*inputs), inputs, slope, create_graph=True)
        found.append(torch.autograd.grad(sum(each.sin().sum() for each in gradients), inputs))  # type: ignore[arg-type]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("wanted", [[1], [6], [0, 5]])
def test_some_gradients_are_those_of_all(wanted: list[int]) -> None:
    inputs = [each.detach().requires_grad_(place in wanted) for place, each in enumerate(given())]
    found, expected = (
        torch.autograd.grad(way(*inputs).sum(), [inputs[place] for place in wanted])
        for way in (ours([0, 1, 2], begun=False), plain([0, 1, 2]))
    )
    torch.testing.assert_close(found, expected)


def test_nodes_that_nothing_enters_are_zero() -> None:
    nodes = Nodes(2, X, (2, 2, 3), maps(1))
    assert torch.equal(nodes.node(1), torch.zeros(2, X, 2, 3, dtype=torch.float64))
    nodes.add(0, maps(X))
    assert torch.equal(nodes.beside([0, 1]), torch.cat([maps(X), torch.zeros_like(maps(X))], dim=1))


def test_nothing_is_put_together_or_taken_apart() -> None:
    inputs, slope = [maps(4), matrix(2 * X, 4), matrix(X, X)], maps(2 * X).detach()
    with Operations() as forward:
        nodes = Nodes(2, X, (2, 2, 3), slope)
        nodes.multiply(0, [(Handed(inputs[0]), inputs[1])])
        nodes.multiply(1, [(Handed(nodes.node(0)), inputs[2])])
        out = nodes.beside([0, 1])
    assert forward.names == ["empty", "mm", "clone", "addmm_"]
    with Operations() as backward:
        torch.autograd.grad(out, inputs, slope)
    assert backward.names == ["clone", "mm", "mm", "add_", "mm", "mm"]
