"""What the labels are for is one object; a batch hands it what the loops do not know."""

from __future__ import annotations

import torch
from torch.nn import functional

from nascommon.data.batch import Batch
from nascommon.data.task import CLASSIFICATION, figures

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
LABELS = torch.tensor([0, 1, 1])


def test_classification_is_cross_entropy_accuracy_and_strata_of_classes() -> None:
    nats = -LOGITS.log_softmax(1)[torch.arange(3), LABELS]
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, LABELS), nats.mean())
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, LABELS, reduction="sum"), nats.sum())
    smoothed = functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.2)
    torch.testing.assert_close(CLASSIFICATION.loss(LOGITS, LABELS, label_smoothing=0.2), smoothed)
    assert CLASSIFICATION.scores(LOGITS, LABELS).tolist() == [True, True, False]
    assert CLASSIFICATION.strata(LABELS).tolist() == LABELS.tolist()
    assert figures(CLASSIFICATION, "valid", 0.5, 0.25) == {"valid_loss": 0.5, "valid_accuracy": 0.25}


def test_a_batch_is_scored_by_its_task_and_so_are_its_pieces() -> None:
    batch = Batch(LOGITS.view(3, 2, 1, 1).repeat(2, 1, 1, 1), LABELS.repeat(2))
    outputs = LOGITS.repeat(2, 1)
    torch.testing.assert_close(batch.loss(outputs), CLASSIFICATION.loss(LOGITS, LABELS))
    assert [piece.task for piece, _ in batch.pieces(3)] == [CLASSIFICATION] * 3
    assert batch.head(2).scores(outputs[:2]).tolist() == [True, True]


def test_a_batch_is_an_input_of_a_recorded_step() -> None:
    batch = Batch(torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]))
    held = batch.clone()
    held.copy_(Batch(torch.ones(2, 1, 1, 1), torch.tensor([1, 1])))
    assert held.images.flatten().tolist() == [1, 1]
    assert held.labels.tolist() == [1, 1]
    assert batch.images.flatten().tolist() == [0, 0]
    assert batch.labels.tolist() == [0, 1]
