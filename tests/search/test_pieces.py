"""A batch in pieces gives the gradient of the whole batch; only batch norm sees the pieces.

Here batch norm uses its running statistics, so that nothing else than the pieces can make a difference.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nascommon.data.batch import Batch
from nascommon.method import ArchGradient
from nascommon.parts.choices import Approximation, FirstOrder, Unrolled
from nascommon.search.gradients import arch_gradient
from nascommon.search.passes import weight_step
from nascommon.search.state import SearchState
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import train_step
from nascommon.training.settings import TrainingSettings
from tests.search.small import CLASSES, batch, double_state, tiny_method


def settled(module: nn.Module) -> None:
    """Let batch norm use its running statistics while everything else trains."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def seven() -> Batch:
    one, two = batch(1), batch(2)
    return Batch(torch.cat([one.images, two.images])[:7], torch.cat([one.labels, two.labels])[:7])


def state_of(kind: Approximation, pieces: int) -> SearchState:
    state = double_state(tiny_method(arch_gradient=ArchGradient(kind)))
    settled(state.supernet)
    state.pieces = pieces
    return state


@pytest.mark.parametrize("kind", [FirstOrder(), Unrolled()], ids=str)
@pytest.mark.parametrize("pieces", [2, 3, 7, 20])
def test_the_architecture_gradient_is_that_of_the_whole_batch(kind: Approximation, pieces: int) -> None:
    whole, cut = (arch_gradient(state_of(kind, count), batch(3), seven()) for count in (1, pieces))
    torch.testing.assert_close(cut, whole, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_the_weight_step_is_that_of_the_whole_batch(pieces: int) -> None:
    found: list[tuple[Tensor, ...]] = []
    for count in (1, pieces):
        state = state_of(FirstOrder(), count)
        loss, correct = weight_step(state, seven())
        found.append((loss, correct, *state.supernet.parameters()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pieces", [2, 3])
def test_the_training_step_is_that_of_the_whole_batch(pieces: int) -> None:
    torch.manual_seed(0)
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 3, CLASSES)).double()
    settled(network)
    data, found = seven(), []
    for count in (1, pieces):
        mine = copy.deepcopy(network)
        optimiser = torch.optim.SGD(mine.parameters(), lr=0.1)
        loss, correct = train_step(mine, optimiser, TrainingSettings(pieces=count), data)
        found.append((loss, correct, *mine.parameters()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


def test_the_whole_batch_is_the_default() -> None:
    assert [len(piece.labels) for piece, _ in seven().pieces(1)] == [7]
    assert [share for _, share in seven().pieces(3)] == pytest.approx([3 / 7, 2 / 7, 2 / 7])
