"""One loop runs every method: phases of epochs of passes, each epoch ended by validation and a checkpoint."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nascommon.data.task import figures
from nascommon.method import Method, Phase
from nascommon.parts.discretizer import strongest_candidates
from nascommon.parts.schedule import cosine, progress, skip_dropout, warmed_up
from nascommon.runtime import ranks
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.divergence import refuse_divergence
from nascommon.runtime.hardware import choose_kernels, seconds_left
from nascommon.runtime.optimisers import set_rate
from nascommon.runtime.seeding import seed_globals
from nascommon.search.history import History, architecture_scalars, architecture_snapshot
from nascommon.search.passes import Epoch, SearchData, run_pass
from nascommon.search.scores import supernet_scores
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.search.watch import collapse_signs, warnings
from nascommon.space.genotype import genotype_from_json
from nascommon.space.space import Space
from nascommon.space.supernet import SupernetSpec
from nascommon.training.descent import TrainingHooks, ignore

RATES = ("weights.lr", "architecture.lr")
"""Settings of a method that make a search diverge where they are too high; the second only where logits are learned."""


class OnSnapshot(Protocol):
    """Looks at the state in which an epoch ended."""

    def __call__(self, row: dict[str, Any], state: SearchState, *, last: bool) -> None:
        """Take the epoch's row of the history and the state; ``last`` says that no epoch follows."""
        ...


@dataclass(frozen=True)
class Hooks(TrainingHooks):
    """Callbacks of a search: those of a training, and one that sees the supernet itself.

    Attributes:
        on_snapshot: (row of the history, state, whether it is the last), before the checkpoint of that epoch is
            written.
    """

    on_snapshot: OnSnapshot = ignore


@dataclass(frozen=True)
class Outcome:
    """State and history at the end of a search."""

    state: SearchState
    history: History


def run_search(
    method: Method,
    base: SupernetSpec,
    data: SearchData,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    hooks: Hooks = Hooks(),
    watch_every: int = 0,
    pieces: int = 1,
) -> Outcome:
    """Run all phases of a method.

    Every epoch is a pure function of the state before it, the seed and its index, so a search that was killed and
    taken up from its checkpoint ends bit-identical (on a CPU) to one that was not.

    Args:
        method: the record to run.
        base: classes, image channels and the space as it is at first; each phase brings its own depth and width.
        data: weight half and architecture half.
        seed: decides everything random.
        device: where to compute.
        checkpoint: taken up if there is one, and written after every epoch.
        hooks: who is told.
        watch_every: epochs between two measurements of the signs of collapse; 0 measures none.
        pieces: number of pieces of a batch, computed one after the other.

    Raises:
        DivergenceError: a loss is not finite at the end of an epoch; the checkpoint of the epoch before stays.
    """
    saved = checkpoint.load() if checkpoint else None
    history = History.from_state_dict(saved["history"]) if saved else History()
    space = base.space.with_candidates(history.candidates[-1]) if saved else base.space
    if saved:
        hooks.on_resume(len(history.rows))
    search = _Search(data, history, seed, hooks, checkpoint, watch_every)
    first_phase, first_epoch = (saved["phase"], saved["epoch"]) if saved else (0, 0)
    state: SearchState | None = None
    for index, phase in enumerate(method.phases[first_phase:], start=first_phase):
        if state is not None:
            space = _survivors(method.phases[index - 1], state)
        spec = supernet_spec(phase, space, base, method)
        state = new_state(method, spec, seed=seed, phase=index, device=device)
        state.pieces = pieces
        if saved and index == first_phase:
            state.load_state_dict(saved["state"])
        else:
            history.candidates.append(space.candidates)
            first_epoch = 0
        try:
            _run_phase(search, state, index, first_epoch)
        finally:
            state.recordings.drop()  # a step refers to its state, so that both would stay until Python looks for cycles
    assert state is not None, "a method has at least one phase"
    return Outcome(state, history)


@dataclass(frozen=True)
class _Search:
    """Data, settings and history that all phases of a search share."""

    data: SearchData
    history: History
    seed: int
    hooks: Hooks
    checkpoint: Checkpoint | None
    watch_every: int


def _run_phase(search: _Search, state: SearchState, index: int, first_epoch: int) -> None:
    """Run the epochs of a phase that are left, until its end or until the method stops it."""
    method, history = state.method, search.history
    phase = method.phases[index]
    epochs_before = sum(earlier.epochs for earlier in method.phases[:index])
    for epoch in range(first_epoch, phase.epochs):
        taken = [row["seconds"] for row in history.rows if row["phase"] == index]
        choose_kernels(state.logits.like.device, seconds_left(taken, phase.epochs))
        row = _run_epoch(search, state, phase, epoch, epochs_before + epoch)
        ranks.require_equal(
            f"after epoch {epochs_before + epoch + 1}",
            {"alphas": state.logits.tensors(), "weights": state.supernet.state_dict().values()},
        )
        history.rows.append({"epoch": epochs_before + epoch, "phase": index, **row})
        history.architecture.append(architecture_snapshot(state))
        if "watch_gap" in row:
            history.rows[-1]["warnings"] = _warnings(state, history)
        ends = epoch + 1 == phase.epochs or (method.stop is not None and method.stop(state.genotype()))
        search.hooks.on_snapshot(history.rows[-1], state, last=ends and index + 1 == len(method.phases))
        if search.checkpoint:
            following = phase.epochs if ends else epoch + 1
            search.checkpoint.save(
                {"phase": index, "epoch": following, "history": history.state_dict(), "state": state.state_dict()}
            )
        search.hooks.on_epoch(history.rows[-1])
        if ends:
            return


def _run_epoch(search: _Search, state: SearchState, phase: Phase, epoch: int, index: int) -> dict[str, Any]:
    """Run one epoch, ``index`` over all phases, and return its row of the history, without epoch and phase."""
    started = time.perf_counter()
    seed_globals(search.seed, "epoch", index)
    lr = _set_epoch(state, phase, epoch)
    learned = state.method.arch_gradient is not None
    rates = RATES if learned else RATES[:1]
    now = Epoch(index, architecture_steps=learned and epoch >= phase.warmup)
    metrics: dict[str, float] = {}
    for choice in state.method.passes:
        metrics |= run_pass(choice, state, search.data, now, search.hooks.on_batch)
        refuse_divergence(metrics, index, rates)
    validation = search.data.validation
    loss, score = supernet_scores(state.supernet, state.scored(), validation.epoch(0, ranks.share()))
    genotype = state.genotype()
    metrics |= figures(validation.task, "valid", loss, score)
    refuse_divergence(metrics, index, rates, state.supernet)
    if search.watch_every and (index + 1) % search.watch_every == 0:
        state.recordings.drop()  # the watch may take as much memory as a step
        metrics |= collapse_signs(state, genotype, search.data, score, seed=search.seed)
    return {
        **metrics,
        **architecture_scalars(architecture_snapshot(state), genotype),
        "learning_rate": lr,
        "seconds": time.perf_counter() - started,
        "genotype": json.dumps(genotype.to_json()),
    }


def _warnings(state: SearchState, history: History) -> list[str]:
    genotype = genotype_from_json(json.loads(history.rows[-1]["genotype"]))
    cells = state.spec.space.cells
    return warnings(
        history.rows,
        progress=state.progress,
        edges=genotype.main.edges,
        operations=cells.main.operations,
        kind=cells.main_kind,
    )


def _set_epoch(state: SearchState, phase: Phase, epoch: int) -> float:
    """Set what changes from epoch to epoch; return the learning rate of the weights."""
    weights = state.method.weights
    lr = warmed_up(cosine(weights.lr, weights.lr_min), weights.lr, weights.warmup_epochs)(epoch, phase.epochs)
    set_rate(state.weight_optimiser.param_groups[0], lr)
    _set_arch_rates(state, epoch)
    state.supernet.set_skip_dropout(skip_dropout(phase.skip_dropout, epoch, phase.epochs, phase.warmup))
    state.progress = progress(epoch, phase.epochs)
    return lr


def _set_arch_rates(state: SearchState, epoch: int) -> None:
    """Hold alpha still in the first epochs where its optimiser says so."""
    if state.method.arch_gradient is None or state.arch_optimiser is None:
        return
    settings = state.method.arch_gradient.optimiser
    for group in state.arch_optimiser.param_groups:
        waits = group["name"].endswith("alpha_EO") and epoch < settings.alpha_delay
        group["lr"] = 0.0 if waits else settings.lr


def _survivors(phase: Phase, state: SearchState) -> Space:
    space = state.spec.space
    return space if phase.keep is None else strongest_candidates(state.mixing(), space, phase.keep)
