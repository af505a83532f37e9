"""A step in pieces is the step of the whole batch, whatever task the batch is of."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.data.batch import Batch
from nascommon.data.task import Reduction
from nascommon.runtime.steps import finished
from nascommon.training.descent import descend, sweep
from nascommon.training.scoring import evaluate

CPU = torch.device("cpu")


class Brightness:
    """Regression of one number per image: a task that the loops have never seen."""

    score = "closeness"

    def loss(
        self, outputs: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        del label_smoothing
        return functional.mse_loss(outputs[:, 0], labels, reduction=reduction)

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (-(outputs[:, 0] - labels).abs()).exp()

    def strata(self, labels: Tensor) -> Tensor:
        return (labels > labels.median()).long()


def bright(count: int) -> Batch:
    images = torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(images, images.mean((1, 2, 3)), Brightness())


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_a_task_unknown_to_the_loops_is_trained_in_pieces_and_scored(pieces: int) -> None:
    torch.manual_seed(0)
    layer, batch, found = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double(), bright(7), []
    before = float(evaluate(layer, [batch])[0])
    for count in (1, pieces):
        mine = copy.deepcopy(layer)
        optimiser = torch.optim.SGD(mine.parameters(), lr=0.1)

        def forward(piece: Batch, mine: nn.Module = mine) -> tuple[Tensor, Tensor, Tensor]:
            outputs = mine(piece.images)
            return outputs, piece.loss(outputs), piece.loss(outputs)

        loss, score = descend(mine, optimiser, batch, forward, clip=5.0, pieces=count)
        found.append((loss, score, *mine.parameters()))
        assert float(loss) == pytest.approx(before)
        assert evaluate(mine, [batch])[0] < before
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


def test_the_gradient_followed_may_be_that_of_more_than_the_loss_reported() -> None:
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, 1.0)
    batch = Batch(torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), Brightness())

    def forward(piece: Batch) -> tuple[Tensor, Tensor, Tensor]:
        outputs = layer(piece.images)
        return outputs, piece.loss(outputs), 3 * piece.loss(outputs)

    loss, _ = descend(layer, torch.optim.SGD(layer.parameters(), lr=0.01), batch, forward, clip=100.0, pieces=1)
    assert float(loss) == pytest.approx(1.0)
    assert float(layer.weight.detach()) == pytest.approx(1.0 - 0.01 * 6.0)


def test_a_sweep_weighs_every_image_alike_and_tells_after_each_step() -> None:
    batches, told = [bright(2), bright(4)], list[tuple[int, int]]()
    made = iter([(torch.tensor(1.0), torch.tensor(2)), (torch.tensor(4.0), torch.tensor(1))])
    steps = sweep(batches, 2, lambda _batch: next(made), device=CPU, on_batch=lambda *done: told.append(done))
    next(steps)
    assert told == [(1, 2)], "it pauses after a step"
    loss, score, images = finished(steps)
    assert loss == pytest.approx((2 * 1 + 4 * 4) / 6)
    assert (score, images) == (3 / 6, 6)
    assert told == [(1, 2), (2, 2)]
