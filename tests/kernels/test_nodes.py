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


def taken(outputs: list[int], begun: bool, *given: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return some nodes at the end, and two as they were taken: the first is handed on, the second is not."""
    first, wide, second, narrow, two, one, term = given
    nodes = Nodes(COUNT, X, (2, 2, 3), first.detach())
    if begun:
        nodes.add([1], term)
    nodes.multiply(0, [(Handed(first), wide[None]), (Handed(second), narrow[None])])
    if not begun:
        nodes.add([1], term)
    states = [nodes.take(0)]
    state = Handed(states[0])
    nodes.multiply(1, [(state, two[None])])
    nodes.put_back(0, state.whole_BXHW)
    states.append(nodes.take(1))
    nodes.multiply(2, [(Handed(states[1].sin()), one[None])])
    nodes.put_back(1, states[1])
    return nodes.beside(outputs).cos(), states


def ours(outputs: list[int], begun: bool) -> Callable[..., Tensor]:
    return lambda *given: taken(outputs, begun, *given)[0]


def plain_nodes(*given: Tensor) -> list[Tensor]:
    first, wide, second, narrow, two, one, term = given
    parts = [*torch.split(product(first, wide) + product(second, narrow), X, dim=1)]
    more = torch.split(product(parts[0], two), X, dim=1)
    parts[1:] = parts[1] + term + more[0], parts[2] + more[1]
    parts[2] = parts[2] + product(parts[1].sin(), one)
    return parts


def plain(outputs: list[int]) -> Callable[..., Tensor]:
    def computed(*given: Tensor) -> Tensor:
        parts = plain_nodes(*given)
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


def batches_of_a_map(*given: Tensor) -> Tensor:
    """Return nodes that two states are added to at once, and to all but the first of them once more."""
    *states, wide, two = given
    nodes, x = Nodes(COUNT, X, (2, 2, 3), given[0]), Handed(torch.cat(states).sin())
    nodes.multiply(0, [(x, torch.stack([wide, wide.exp()]))])
    nodes.multiply(1, [(x, torch.stack([two, two.exp()]))])
    return nodes.beside([0, 1, 2]).cos()


def states_by_themselves(*given: Tensor) -> Tensor:
    """Return the same by plain operators."""
    *states, wide, two = given
    first, second = (state.sin() for state in states)
    to_all = product(first, wide) + product(second, wide.exp())
    to_others = product(first, two) + product(second, two.exp())
    return torch.cat([to_all[:, :X], to_all[:, X:] + to_others], dim=1).cos()


def test_states_that_are_batches_of_a_map_add_to_the_same_nodes() -> None:
    inputs, slope = [maps(4), maps(4, 9), matrix(COUNT * X, 4), matrix(2 * X, 4)], maps(COUNT * X, 5).detach()
    found = []
    for way in (batches_of_a_map, states_by_themselves):
        gradients = torch.autograd.grad(way(*inputs), inputs, slope)
        again = torch.autograd.grad(way(*inputs), inputs, slope, create_graph=True)
        twice = torch.autograd.grad(sum(each.sin().sum() for each in again), inputs)  # type: ignore[arg-type]
        found.append([way(*inputs), *gradients, *again, *twice])
    torch.testing.assert_close(*found)


def test_states_that_are_batches_of_a_map_take_a_product_each_and_a_single_one_for_gradients() -> None:
    x, matrices, slope = maps(4), torch.stack([matrix(2 * X, 4)] * 2), maps(2 * X).detach()[:1]
    nodes = Nodes(2, X, (1, 2, 3), slope)
    with Operations() as forward:
        nodes.multiply(0, [(Handed(x), matrices)])
    assert forward.names == ["empty", "mm", "addmm_"]
    out = nodes.beside([0, 1])
    with Operations() as backward:
        torch.autograd.grad(out, [x, matrices], slope)
    assert backward.names == ["clone", "bmm", "bmm"]


def test_nodes_that_nothing_enters_are_zero() -> None:
    nodes = Nodes(2, X, (2, 2, 3), maps(1))
    nodes.add([0], maps(X))
    assert torch.equal(nodes.take(1), torch.zeros(2, X, 2, 3, dtype=torch.float64))
    assert torch.equal(nodes.beside([0, 1]), torch.cat([maps(X), torch.zeros_like(maps(X))], dim=1))


def test_nothing_is_put_together_or_taken_apart() -> None:
    inputs, slope = [maps(4), matrix(2 * X, 4), matrix(X, X)], maps(2 * X).detach()
    with Operations() as forward:
        nodes = Nodes(2, X, (2, 2, 3), slope)
        nodes.multiply(0, [(Handed(inputs[0]), inputs[1][None])])
        state = Handed(nodes.take(0))
        nodes.multiply(1, [(state, inputs[2][None])])
        nodes.put_back(0, state.whole_BXHW)
        out = nodes.beside([0, 1])
    assert forward.names == ["empty", "mm", "addmm_"]
    with Operations() as backward:
        torch.autograd.grad(out, inputs, slope)
    assert backward.names == ["clone", "baddbmm_", "bmm", "bmm", "bmm"]


def test_a_node_is_read_where_it_lies_and_has_not_changed_when_others_have() -> None:
    """What keeps it for its gradient would be refused it."""
    inputs = given()
    _, states = taken([0, 1, 2], False, *inputs)
    torch.testing.assert_close(states, plain_nodes(*inputs)[:2])
    assert [state.stride(3) for state in states] == [COUNT * X] * 2
    assert [state._version for state in states] == [0, 0]


def test_a_node_that_has_been_taken_is_not_added_to() -> None:
    nodes = Nodes(2, X, (2, 2, 3), maps(1))
    nodes.put_back(0, nodes.take(0))
    nodes.add([1], maps(X))
    with pytest.raises(AssertionError):
        nodes.add([0], maps(X))
    with pytest.raises(AssertionError):
        nodes.multiply(0, [(Handed(maps(4)), matrix(2 * X, 4)[None])])


def test_nobody_adds_to_the_gradient_of_a_node_that_is_taken_out() -> None:
    """By whom it was asked for, or by a hook."""
    inputs, slope, hooked = given(), maps(COUNT * X, 5).detach(), list[Tensor]()
    out, states = taken([0, 1, 2], False, *inputs)
    nodes = plain_nodes(*inputs)
    expected = torch.autograd.grad(torch.cat(nodes, dim=1).cos(), nodes[:2], slope)
    first = torch.autograd.grad(out, states, slope, retain_graph=True)
    for state in states:
        state.register_hook(hooked.append)  # type: ignore[no-untyped-call]
    second = torch.autograd.grad(out, [*states, *inputs], slope)[:2]
    for found in (first, second, hooked[::-1]):
        torch.testing.assert_close([*found], [*expected])


def test_a_node_may_be_all_that_is_differentiated() -> None:
    inputs = given()
    _, states = taken([0, 1, 2], False, *inputs)
    for state, node in zip(states, plain_nodes(*inputs), strict=False):
        found, expected = (
            torch.autograd.grad(each.sin().sum(), inputs, retain_graph=True, materialize_grads=True)
            for each in (state, node)
        )
        torch.testing.assert_close(found, expected)


def test_a_hook_may_change_the_gradient_of_a_node() -> None:
    inputs, slope = given(), maps(COUNT * X, 5).detach()
    out, (state, _) = taken([0, 1, 2], False, *inputs)
    nodes = plain_nodes(*inputs)
    for each in (state, nodes[0]):
        each.register_hook(lambda slope: 3 * slope)  # type: ignore[no-untyped-call]
    ways = out, torch.cat(nodes, dim=1).cos()
    torch.testing.assert_close(*(torch.autograd.grad(way, inputs, slope) for way in ways))


def test_nobody_adds_to_the_gradient_of_the_map_of_all_nodes() -> None:
    """Which is whose that asked, or that of both of the cells that read it."""
    first, wide, two = maps(4), matrix(2 * X, 4), matrix(X, X)
    nodes = Nodes(2, X, (2, 2, 3), first)
    nodes.multiply(0, [(Handed(first), wide[None])])
    state = Handed(nodes.take(0))
    nodes.multiply(1, [(state, two[None])])
    nodes.put_back(0, state.whole_BXHW)
    out, slope = nodes.beside([0, 1]), maps(2 * X, 7).detach()
    kept, (found, *_) = slope.clone(), torch.autograd.grad(out, [first], slope, retain_graph=True)
    assert torch.equal(slope, kept)
    other = maps(2 * X, 8)  # a sum hands the same gradient to both
    again, of_other = torch.autograd.grad(out + other, [first, other], slope, retain_graph=True)
    assert torch.equal(again, found)
    assert torch.equal(of_other, kept)
    (both,) = torch.autograd.grad([out * 2, out + other], [first], [slope, slope])
    torch.testing.assert_close(both, 3 * found)


@pytest.mark.parametrize("on", [[0, 1, 2], [1, 2], [0, 2], [2, 1]])
def test_each_of_some_maps_is_added_to_its_node(on: list[int]) -> None:
    terms, slope = maps(len(on) * X), maps(COUNT * X, 5).detach()
    nodes = Nodes(COUNT, X, (2, 2, 3), slope)
    with Operations() as done:
        nodes.add(on, terms)
    assert done.names.count("add_") == (1 if on[-1] == on[0] + len(on) - 1 else len(on))
    out, expected = nodes.beside([0, 1, 2]), [torch.zeros_like(slope[:, :X])] * COUNT
    for node, term in zip(on, torch.split(terms, X, dim=1), strict=True):
        expected[node] = term
    assert torch.equal(out, torch.cat(expected, dim=1))
    found = torch.autograd.grad(out, terms, slope)[0]
    assert torch.equal(found, torch.cat([slope[:, node * X :][:, :X] for node in on], dim=1))
