"""Scores are means over images, not over batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nascommon.data.batch import Batch
from nascommon.training.scoring import evaluate, evaluating


def test_loss_and_accuracy_weigh_every_image_alike() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    expected = sum(float(-row.log_softmax(0)[label]) for row, label in zip(logits, labels, strict=True)) / 3
    loss, accuracy = evaluate(lambda images: images, [Batch(logits[:2], labels[:2]), Batch(logits[2:], labels[2:])])
    assert loss == pytest.approx(expected)
    assert accuracy == pytest.approx(2 / 3)


def test_nothing_is_recorded_for_gradients() -> None:
    layer = nn.Linear(2, 2)
    outputs: list[Tensor] = []

    def forward(images: Tensor) -> Tensor:
        outputs.append(layer(images))
        return outputs[-1]

    evaluate(forward, [Batch(torch.ones(1, 2), torch.tensor([0]))])
    assert not outputs[0].requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_comes_back_even_after_an_error(training: bool) -> None:
    module = nn.Sequential(nn.Dropout()).train(training)
    seen: list[bool] = []

    def fail() -> None:
        with evaluating(module):
            seen.extend([module.training, module[0].training])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False, False]
    assert module.training == module[0].training == training
