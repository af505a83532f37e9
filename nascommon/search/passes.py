"""Passes, of which an epoch consists: sweeps over the weight half, a batch at a time.

The soft pass is the papers' alternation of an architecture step and a weight step. The induced pass is the induced
structural transition of EC-DARTS: it trains the model that the present genotype induces.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

import torch
from torch import nn

from nascommon.data.batch import Batch
from nascommon.data.batches import Batches
from nascommon.data.task import figures
from nascommon.parts.choices import Induced, Pass, Soft
from nascommon.runtime import ranks
from nascommon.runtime.optimisers import rate_of, set_rate
from nascommon.runtime.replay import Recordings
from nascommon.runtime.seeding import derive
from nascommon.runtime.steps import finished
from nascommon.search.gradients import arch_gradient
from nascommon.search.scores import recalibrate, supernet_scores
from nascommon.search.state import InducedModel, SearchState, weight_optimiser
from nascommon.space.mixing import Mixing, one_hot
from nascommon.space.supernet import Supernet
from nascommon.training.descent import OnBatch, descend, sweep

CALIBRATION_BATCHES = 50
"""Number of batches on which a search measures batch-norm statistics."""


@dataclass(frozen=True)
class SearchData:
    """Batches that a search reads; no part of them is the test set.

    Attributes:
        weights: augmented batches of the weight half.
        architecture: augmented batches of the architecture half, for the architecture steps.
        validation: the architecture half as it is, for the reported accuracy.
    """

    weights: Batches
    architecture: Batches
    validation: Batches


@dataclass(frozen=True)
class Epoch:
    """Position of the search: the epoch over all phases, and whether architecture steps are taken in it."""

    index: int
    architecture_steps: bool


def run_pass(choice: Pass, state: SearchState, data: SearchData, epoch: Epoch, on_batch: OnBatch) -> dict[str, float]:
    """Run one pass of an epoch and return its metrics."""
    match choice:
        case Soft():
            return soft_pass(state, data, epoch, on_batch)
        case Induced(arch_steps=arch_steps):
            steps = epoch.architecture_steps and arch_steps
            return induced_pass(state, data, replace(epoch, architecture_steps=steps), on_batch)


def soft_pass(state: SearchState, data: SearchData, epoch: Epoch, on_batch: OnBatch) -> dict[str, float]:
    """Train the supernet under its mixing weights (DARTS, algorithm 1: architecture step first, then weight step)."""
    with ranks.shared_statistics(state.supernet):
        loss, score = _sweep(
            state,
            data,
            epoch.index,
            on_batch,
            architecture_steps=epoch.architecture_steps,
            step=lambda batch: weight_step(state, batch),
            recordings=state.recordings,
        )
    return figures(data.weights.task, "train", loss, score)


def induced_pass(state: SearchState, data: SearchData, epoch: Epoch, on_batch: OnBatch) -> dict[str, float]:
    """Train the model that the genotype induces and take its weights over if it is the best so far (EC-DARTS, IST).

    The induced model is the supernet with weight one on the kept operations and nothing else, on a copy of its weights
    with an optimiser of its own. The supernet, untouched meanwhile, may take architecture steps batch by batch.

    Deviation: the released code hands its batch-norm statistics over as well, which are wrong for the supernet: here
    those are measured anew under the mixing weights, as the induced model's are before it is compared.
    """
    genotype = state.genotype()
    # A copy, so that a model that turns out worse is simply dropped; momenta start anew, as those of the supernet are
    # of other gradients.
    supernet = copy.deepcopy(state.supernet)
    optimiser = weight_optimiser(state.method, supernet)
    set_rate(optimiser.param_groups[0], rate_of(state.weight_optimiser))
    kept = one_hot(genotype, state.spec.space, like=state.logits.like)
    clip = state.method.weights.clip
    state.recordings.drop()  # its memory is needed: the copy brings a recording of its own
    with ranks.shared_statistics(supernet, state.supernet):
        loss, train_score = _sweep(
            state, data, derive(epoch.index, "induced"), on_batch,
            architecture_steps=epoch.architecture_steps,
            step=lambda batch: _weight_step(supernet, optimiser, kept, batch, clip, state.pieces),
            recordings=Recordings(),
        )  # fmt: skip
    # In the few batches of a pass over a small set the old statistics hardly fade.
    recalibrate(supernet, kept, calibration(data, epoch.index))
    accuracy = supernet_scores(supernet, kept, data.validation.epoch(0, ranks.share()))[1]
    taken = state.induced is None or accuracy > state.induced.accuracy
    if taken:
        state.induced = InducedModel(accuracy, genotype, epoch.index)
        state.supernet.load_state_dict(supernet.state_dict())
        recalibrate(state.supernet, state.scored(), calibration(data, epoch.index))
    return {
        **figures(data.weights.task, "induced_train", loss, train_score),
        "induced_valid_accuracy": accuracy,
        "induced_taken": float(taken),
    }


def calibration(data: SearchData, seed: int) -> Iterable[Batch]:
    """Return training batches for batch-norm statistics, the same at every call with a seed."""
    return islice(data.weights.epoch(derive(seed, "calibration")), CALIBRATION_BATCHES)


WeightStep = Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]
"""Take a step of some network weights; return the batch's mean loss and its sum of scores."""


def _sweep(
    state: SearchState,
    data: SearchData,
    key: int,
    on_batch: OnBatch,
    *,
    architecture_steps: bool,
    step: WeightStep,
    recordings: Recordings,
) -> tuple[float, float]:
    """Go through the weight half once; return (mean loss, mean score) as trained on.

    ``key`` decides order and draws, ``recordings`` are those of the step's optimiser.
    """
    state.supernet.train()
    device = state.logits.like.device

    def one_step(train: Batch, *valid: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if architecture_steps:
            architecture_step(state, train, *valid)
        return step(train)

    # Asked before recording: a sampler that decides what is computed makes every step another one.
    kind = (architecture_steps, state.supernet.skip_dropout > 0, state.arch_rates())
    repeat = recordings.repeated(one_step, device, kind, steady=lambda: not state.varies)
    valid_batches = endless(data.architecture, key)
    loss, score, _ = finished(
        sweep(
            data.weights.epoch(key, ranks.share()),
            len(data.weights),
            lambda train: repeat(train, *islice(valid_batches, int(architecture_steps))),
            device=device,
            on_batch=on_batch,
        )
    )
    return loss, score


def architecture_step(state: SearchState, train: Batch, valid: Batch) -> None:
    """Move the logits one step of Adam against the gradient of the validation loss."""
    learned, optimiser = state.method.arch_gradient, state.arch_optimiser
    assert learned is not None
    assert optimiser is not None
    for tensor, gradient in zip(state.logits.tensors(), arch_gradient(state, train, valid), strict=True):
        tensor.grad = gradient
    if learned.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(state.logits.tensors(), learned.optimiser.clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def weight_step(state: SearchState, train: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the network weights one step of SGD under the mixing weights, which see no gradient.

    Returns scalars on the device: the mean loss of the batch and its sum of scores.
    """
    # No graph to the logits, which are not learned on the weight half: it would only take memory.
    with torch.no_grad():
        mixing = state.draw("weights")
    return _weight_step(state.supernet, state.weight_optimiser, mixing, train, state.method.weights.clip, state.pieces)


def _weight_step(
    supernet: Supernet, optimiser: torch.optim.SGD, mixing: Mixing, train: Batch, clip: float, pieces: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one step of SGD under fixed mixing weights; return the batch's mean loss and its sum of scores."""
    mixing = mixing.detach()

    def forward(piece: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        outputs = supernet(piece.images, mixing)
        loss = piece.loss(outputs)
        return outputs, loss, loss

    return descend(supernet, optimiser, train, forward, clip=clip, pieces=pieces)


def endless(batches: Batches, key: int) -> Iterator[Batch]:
    """Yield batches of one shuffled sweep after the other; a pure function of ``key``."""
    # The halves may differ in size: a pass may need several sweeps over the architecture half, each in another order.
    for index in count():
        yield from batches.epoch(derive(key, "sweep", index), ranks.share())
