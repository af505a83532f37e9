"""Into how many pieces a batch of a training is cut, so that a step fits into the free memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nascommon.runtime.memory import fewest_pieces
from nascommon.runtime.optimisers import sgd
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import train_step
from nascommon.training.settings import TrainingSettings
from stages.memory import Shape, memory_of, said, settle, surely_fits
from stages.shell import Run

STAND_IN = "DARTS_V2"
"""Its network stands for that of the genotype, which only the search will know."""
OPERATIONS_OF_A_CELL = 10
"""Of a stand-alone network: two of each of four nodes, and the two that bring the inputs to its width."""

Step = Callable[[tuple[Tensor, Tensor]], tuple[Tensor, ...]]
"""Takes a training step on images and labels."""


def with_pieces(
    settings: TrainingSettings, specs: Sequence[NetworkSpec], shape: Shape, run: Run, at_a_time: int = 1
) -> TrainingSettings:
    """Return the protocol with as few pieces of a batch as let so many of the largest networks fit at a time."""
    if settings.pieces is not None:
        return settings
    pieces = max(training_pieces(settings, spec, shape, run.device, at_a_time) for spec in specs)
    return settings.model_copy(update={"pieces": said(pieces, f"{run.stage}.training.pieces")})


def training_pieces(
    settings: TrainingSettings, spec: NetworkSpec, shape: Shape, device: torch.device, at_a_time: int = 1
) -> int:
    """Return the fewest pieces of a batch with which so many training steps at a time fit into the free memory."""
    operations = at_a_time * spec.cells * OPERATIONS_OF_A_CELL
    if surely_fits(operations, spec.channels, shape, settings.batch_size, device):
        return 1

    def needs(pieces: int) -> int:
        cut = settings.model_copy(update={"pieces": pieces})
        step = memory_of(lambda on: training_program(cut, spec, on)(shape.batch(settings.batch_size, on)), device)
        return at_a_time * step

    return fewest_pieces(settings.batch_size, needs, device)


def training_program(settings: TrainingSettings, spec: NetworkSpec, device: torch.device) -> Step:
    """Return a training step of a network of that size, with all that it finds there from the step before."""
    model = Network(PUBLISHED[STAND_IN], spec).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    model.drop_probability = settings.drop_path / 2
    optimiser = sgd(model, settings.lr, settings.momentum, settings.weight_decay)
    settle(model, optimiser)
    return lambda batch: train_step(model, optimiser, settings, *batch)
