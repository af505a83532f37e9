"""The task that labels are for: the loss to train, the score to report, and how labels are divided alike."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum"]


class Task(Protocol):
    """Task that a network learns from labelled images; the loops know nothing else of it.

    Outputs are what the network returns for B images, ``[B, ...]``; labels are ``[B]``, or ``[N]`` of a whole set.
    """

    @property
    def score(self) -> str:
        """Name of the score, which ends the names of the figures: ``valid_accuracy``. Higher is better."""
        ...

    def loss(
        self, outputs: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """Return the loss over the images, a scalar with a graph to the outputs."""
        ...

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the score of each image ``[B]``, which is averaged over a set."""
        ...

    def strata(self, labels: Tensor) -> Tensor:
        """Return the stratum of each label, int64 ``[N]`` from 0 on: every stratum is divided alike."""
        ...


class Classification:
    """One of K classes: outputs are logits ``[B, K]``, labels class indices int64."""

    score = "accuracy"

    def loss(
        self, outputs: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """Return the cross entropy in nats of logits [B, K] and classes [B], a scalar."""
        return functional.cross_entropy(outputs, labels, label_smoothing=label_smoothing, reduction=reduction)

    def scores(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return whether the class of the largest logit is right, bool ``[B]``."""
        return outputs.argmax(1) == labels

    def strata(self, labels: Tensor) -> Tensor:
        """Return the classes [B]: a split keeps the share of each."""
        return labels


CLASSIFICATION: Task = Classification()


def figures(task: Task, prefix: str, loss: float, score: float) -> dict[str, float]:
    """Return loss and score under the names of the task, such as ``valid_loss`` and ``valid_accuracy``."""
    return {f"{prefix}_loss": loss, f"{prefix}_{task.score}": score}
