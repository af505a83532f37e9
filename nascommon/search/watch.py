"""Signs that a search collapses, measured while it runs and said in plain words.

Suffixes: ``E`` edges, ``O`` operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from nascommon.data.batch import Batch
from nascommon.runtime import ranks
from nascommon.runtime.hardware import kernels_as_they_come
from nascommon.runtime.seeding import derive, generator
from nascommon.search.passes import SearchData, calibration
from nascommon.search.scores import recalibrated_scores
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.kinds import cell_of
from nascommon.space.mixing import one_hot

HESSIAN_IMAGES = 64
ITERATIONS = 10
TOLERANCE = 0.05
"""Relative change of the eigenvalue at which the power iteration has converged well enough for a warning."""
MANY_SKIPS = 0.5
"""Share of the edges that the main kind of cell keeps."""
FLAT = 0.98
"""Share of the largest entropy at which the weights hardly prefer any candidate."""
LATE = 0.5
"""Progress from which such flatness is no longer the warm-up's."""
LARGE_GAP = 0.3
"""Accuracy, as a share."""
STEEP_RISE = 0.75
"""R-DARTS stops a search when the earlier eigenvalue is less than this part of the present one."""


def collapse_signs(
    state: SearchState, genotype: Genotype, data: SearchData, soft_accuracy: float, *, seed: int
) -> dict[str, float]:
    """Return the gap and the largest Hessian eigenvalue of the validation loss in alpha.

    The gap is soft minus kept accuracy, batch norm measured anew for what is kept (docs/methods.md, section 6). The
    same ``seed`` measures both on the same images, and the eigenvalue from the same start, in every epoch.
    """
    kept = one_hot(genotype, state.spec.space, like=state.logits.like)
    validation = data.validation.epoch(0, ranks.share())
    kept_accuracy = recalibrated_scores(state.supernet, kept, calibration(data, seed), validation)[1]
    signs = {"watch_gap": soft_accuracy - kept_accuracy}
    if state.method.arch_gradient is not None:
        # Shuffled: the validation half may be sorted by class, and a batch of one class says nothing.
        batch = next(iter(data.architecture.epoch(derive(seed, "hessian")))).head(HESSIAN_IMAGES)
        with kernels_as_they_come():
            signs["watch_eigenvalue"] = hessian_eigenvalue(state, batch, seed=seed)
    return signs


def hessian_eigenvalue(state: SearchState, batch: Batch, *, seed: int = 0) -> float:
    """Return the largest eigenvalue of the Hessian of the validation loss in the logits (R-DARTS, section 4).

    Power iteration with exact Hessian-vector products. It finds the eigenvalue of largest magnitude; where that is
    negative, a second run on the Hessian shifted by it finds the largest. Batch norm uses the batch and leaves the
    running statistics alone; methods that sample are measured at their mixing weights. ``seed`` decides the start.
    """
    logits = state.logits.tensors()
    buffers = {name: buffer.clone() for name, buffer in state.supernet.named_buffers()}
    weights = {name: parameter.detach() for name, parameter in state.supernet.named_parameters()}
    training = state.supernet.training
    state.supernet.train()
    dropout, spec = state.supernet.skip_dropout, state.supernet.spec
    state.supernet.set_skip_dropout(0.0)
    state.supernet.spec = replace(spec, precision="float32")  # second derivatives drown in the rounding of bfloat16
    # Weights without gradients: only the logits are differentiated, twice. Clones of the buffers take the updates.
    try:
        out = functional_call(state.supernet, {**weights, **buffers}, (batch.images, state.mixing()))
        loss = batch.loss(out)
        # Logits without a say, such as those of edges among which there is no choice, have zeros.
        slopes = torch.autograd.grad(loss, logits, create_graph=True, materialize_grads=True)
        slope = torch.cat([part.flatten() for part in slopes])

        def product(vector: Tensor) -> Tensor:
            # H v is the gradient of (gradient . v), so the matrix of all logits is never built.
            parts = torch.autograd.grad(slope @ vector, logits, retain_graph=True, materialize_grads=True)
            return torch.cat([part.flatten() for part in parts])

        start = torch.randn(slope.shape, generator=generator(seed, "hessian")).to(slope)
        extreme = power_iteration(product, start)
        # The largest in magnitude may be a negative one; H - extreme I has it at 0 and the largest as its extreme.
        if extreme >= 0:
            return extreme
        return extreme + power_iteration(lambda vector: product(vector) - extreme * vector, start)
    finally:
        state.supernet.spec = spec
        state.supernet.set_skip_dropout(dropout)
        state.supernet.train(training)


def power_iteration(product: Callable[[Tensor], Tensor], start: Tensor) -> float:
    """Return the eigenvalue of largest magnitude of the symmetric map ``product``, as a Rayleigh quotient."""
    vector = start / start.norm()
    value = 0.0
    for _ in range(ITERATIONS):
        image = product(vector)
        before, value = value, float(vector @ image)
        length = float(image.norm())
        if length == 0 or abs(value - before) <= TOLERANCE * abs(value):
            break
        vector = image / length
    return value


def warnings(rows: Sequence[dict[str, Any]], *, progress: float, edges: int, operations: int, kind: str) -> list[str]:
    """Say in plain words what the last epoch of a search's history gives reason to fear.

    Args:
        rows: the history so far, an epoch each.
        progress: how far the phase is, in [0, 1].
        edges: number of edges that the main kind of cell keeps.
        operations: candidates of each of its edges at present.
        kind: name of the main kind of cell.
    """
    row = rows[-1]
    skips, entropy = row[f"skips_{kind}"], row[f"entropy_{kind}"]
    found = []
    if skips > MANY_SKIPS * edges:
        found.append(
            f"{skips} of {edges} edges of the {cell_of(kind)} are skip connections: the search may be "
            "collapsing to a shallow network; fewer epochs, or a method that limits skips, may help"
        )
    if progress >= LATE and operations > 1 and entropy > FLAT * math.log(operations):
        found.append(
            f"the mixing weights of the {cell_of(kind)} are almost equal (entropy {entropy:.3f} of at most "
            f"{math.log(operations):.3f}): which operations win is nearly chance; more epochs or a larger architecture "
            "learning rate may help"
        )
    if row.get("watch_gap", 0.0) > LARGE_GAP:
        found.append(
            f"cutting the supernet now would cost {100 * row['watch_gap']:.0f} points of validation accuracy, batch "
            "norm measured anew: it leans on operations that will be cut"
        )
    # Of this phase only: another phase has another supernet, whose eigenvalues are on another scale.
    values = [r["watch_eigenvalue"] for r in rows if "watch_eigenvalue" in r and r["phase"] == row["phase"]]
    if "watch_eigenvalue" in row and len(values) > 1 and values[-1] > 0 and values[-2] < STEEP_RISE * values[-1]:
        found.append(
            f"the largest eigenvalue of the validation loss in alpha rose from {values[-2]:.3g} to {values[-1]:.3g}: "
            "the search moves into a sharp valley, where discretization hurts (R-DARTS would stop here)"
        )
    return found
