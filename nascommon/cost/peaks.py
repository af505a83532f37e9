"""Peak memory of a stage that trains, predicted before it starts: of its steps and of what it does between them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle

import torch
from torch import Tensor

from nascommon.cost.footprint import Shape, fill_optimiser_state, memory_of
from nascommon.data.batch import Batch
from nascommon.method import Method
from nascommon.parts.choices import Induced, Use
from nascommon.parts.control import Progress
from nascommon.parts.logits import CellLogits
from nascommon.runtime import ranks
from nascommon.runtime.hardware import birthplace
from nascommon.runtime.seeding import generator
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.scores import recalibrate, supernet_scores
from nascommon.search.settings import SearchSettings
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.search.watch import HESSIAN_IMAGES, hessian_eigenvalue
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import CellMixing, Mixing, one_hot
from nascommon.space.network import Network, NetworkSpec, build_network
from nascommon.space.operations import search_operation
from nascommon.space.published import PUBLISHED
from nascommon.space.space import Candidates, CellSpace, Space
from nascommon.space.supernet import SupernetSpec
from nascommon.training.loop import fresh_optimiser, train_step
from nascommon.training.scoring import evaluate, evaluating
from nascommon.training.settings import TrainingSettings

Program = Callable[[torch.device], object]
"""Makes all its tensors on the device that it is given."""

DRAWS = 1000
"""Number of draws of a sampling method whose largest stands for the largest of a whole search."""
INDUCED_COPIES = 3
"""Extra copies of the network weights held during an induced pass: the induced model's weights, momentum buffers and
gradients."""
STAND_IN = PUBLISHED["DARTS_V2"]
"""Its network stands for that of the genotype, which only the search will know."""


@functools.cache
def search_peak(method: Method, base: SupernetSpec, shape: Shape, search: SearchSettings, device: torch.device) -> int:
    """Predict the most bytes that steps, scores and the collapse watch of any phase take, beside the images."""
    return max(phase_peak(method, spec, shape, search, device) for spec in supernets(method, base))


def phase_peak(method: Method, spec: SupernetSpec, shape: Shape, search: SearchSettings, device: torch.device) -> int:
    """Predict the most bytes that a phase takes, beside the images."""
    fixed, scored = with_fixed_draw(method, spec), shape.evaluated(method.batch_size, device, search.pieces)
    # An induced pass gives the recording of the supernet's steps back, and so does the watch.
    recorded = _records(device) and not _induces(method) and not smallest_state(method, spec, "weights").varies
    peak = peak_with_scores(
        partial(search_steps, fixed, spec, shape, search.pieces),
        partial(search_scores, fixed, spec, shape, scored),
        partial(steady_state, fixed, spec),
        device,
        recorded=recorded,
    )
    if not search.watch_every or method.arch_gradient is None:
        return peak
    return max(peak, memory_of(partial(search_watch, fixed, spec, shape), device))


def peak_with_scores(steps: Program, scores: Program, rest: Program, device: torch.device, *, recorded: bool) -> int:
    """Predict the most bytes of steps and of the scores of images between them.

    Args:
        steps: takes a step.
        scores: scores a batch of images.
        rest: makes what both of them find there and count as theirs.
        device: where they are done.
        recorded: whether a step is recorded, which keeps its memory while images are scored.
    """
    stepping, scoring = memory_of(steps, device), memory_of(scores, device)
    return stepping + scoring - memory_of(rest, device) if recorded else max(stepping, scoring)


def _records(device: torch.device) -> bool:
    """Return whether steps are recorded on a device: those that ranks share never are."""
    return device.type == "cuda" and ranks.share() == ranks.WHOLE


def supernets(method: Method, base: SupernetSpec) -> Iterator[SupernetSpec]:
    """Yield the supernet of each phase, with the costliest candidates that the phase before may leave."""
    space = base.space
    for phase in method.phases:
        yield supernet_spec(phase, space, base, method)
        space = space if phase.keep is None else costliest_candidates(space, phase.keep)


def steady_state(method: Method, spec: SupernetSpec, device: torch.device) -> tuple[SearchState, list[Tensor]]:
    """Return the state that steps and scores find, and what an induced pass holds beside it."""
    state = new_state(method, spec, seed=0, phase=0, device=device)
    fill_optimiser_state(state.supernet, state.weight_optimiser)
    copies = INDUCED_COPIES if _induces(method) else 0
    return state, [torch.empty_like(weight) for weight in list(state.supernet.parameters()) * copies]


def _induces(method: Method) -> bool:
    return any(isinstance(choice, Induced) for choice in method.passes)


def search_steps(method: Method, spec: SupernetSpec, shape: Shape, pieces: int, device: torch.device) -> None:
    """Do both steps of a phase."""
    state, held = steady_state(method, spec, device)
    counted, state.pieces = equivalent_pieces(method.batch_size, pieces)
    # A head is a view, so the memory of the whole batch stays held.
    train, valid = (shape.batch(method.batch_size, device).head(counted) for _ in range(2))
    if method.arch_gradient is not None:
        architecture_step(state, train, valid)
    weight_step(state, train)
    del held


def search_scores(method: Method, spec: SupernetSpec, shape: Shape, scored: int, device: torch.device) -> None:
    """Score the supernet of a phase on so many images; after an induced pass, recalibrate it first."""
    state, held = steady_state(method, spec, device)
    if held:
        recalibrate(state.supernet, state.scored(), [shape.batch(method.batch_size, device)])
    supernet_scores(state.supernet, state.scored(), [shape.batch(scored, device)])


def search_watch(method: Method, spec: SupernetSpec, shape: Shape, device: torch.device) -> None:
    """Measure the Hessian as the collapse watch does, which scores less of the supernet than a phase does anyway."""
    state, _ = steady_state(method, spec, device)
    hessian_eigenvalue(state, shape.batch(method.batch_size, device).head(HESSIAN_IMAGES))


@functools.cache
def untrained_peak(
    method: Method,
    base: SupernetSpec,
    shape: Shape,
    batches: tuple[tuple[int, int], ...],
    scored: int,
    device: torch.device,
    genotype: Genotype | None = None,
) -> int:
    """Predict the most bytes that the last supernet takes, beside the images, where it is scored and not trained.

    Args:
        method: the search.
        base: what no method changes of the supernet.
        shape: size of the images.
        batches: of the images that are held, how many of which size; those of the first kind recalibrate the supernet.
        scored: images scored at a time.
        device: where it is done.
        genotype: what is kept of it; None is all.
    """
    *_, spec = supernets(method, base)
    fixed = with_fixed_draw(method, spec)

    def program(on: torch.device) -> None:
        state = new_state(fixed, spec, seed=0, phase=0, device=on)
        held = [[shape.batch(size, on) for _ in range(count)] for count, size in batches]
        mixing = state.scored() if genotype is None else one_hot(genotype, spec.space, like=state.logits.like)
        recalibrate(state.supernet, mixing, held[0][:1])
        supernet_scores(state.supernet, mixing, [shape.batch(scored, on)])

    return memory_of(program, device)


def equivalent_pieces(batch_size: int, pieces: int) -> tuple[int, int]:
    """Return (images, pieces) of a step that takes as much memory as that of the whole batch.

    Pieces are computed one after the other and each is freed before the next, so two stand for any number: the second
    one meets the gradients that the first has left, and the third nothing new.
    """
    counted = min(2 * math.ceil(batch_size / pieces), batch_size)
    return counted, min(pieces, 2)


def with_fixed_draw(method: Method, spec: SupernetSpec) -> Method:
    """Return the method without its sampler's numbers, but with the largest of many choices of what is computed.

    Samplers need real numbers, and what they draw is small: only ``active`` decides what a step holds, and it does not
    depend on the size of the supernet, of which a small one will do.
    """
    if method.sample is None:
        return method
    use = next(iter(method.sample.uses))
    state = smallest_state(method, spec, use)
    with torch.no_grad():
        largest = state.draw(use)
        if largest.main.active is not None:
            draws = (state.draw(use) for _ in range(DRAWS))
            largest = max(draws, key=lambda drawn: count_layers(drawn, spec.space))
    kinds = cycle(largest)  # the order in which a state asks its sampler

    def draw(_logits: CellLogits, mixing: CellMixing, _space: CellSpace, _progress: Progress) -> CellMixing:
        return replace(mixing, active=largest[next(kinds)].active)

    return replace(method, sample=replace(method.sample, draw=draw))


def smallest_state(method: Method, spec: SupernetSpec, draw: Use) -> SearchState:
    """Return a state of the smallest supernet with the same edges, on the CPU, after a first draw.

    Draws need real numbers, and do not depend on the size of the supernet.
    """
    small = replace(spec, channels=2 * spec.channel_divisor, cells=spec.space.skeleton.step)
    state = new_state(method, small, seed=0, phase=0, device=torch.device("cpu"))
    with torch.no_grad():
        state.draw(draw)
    return state


@functools.cache
def layers_of(operation: str) -> int:
    """Count the modules of an operation."""
    return sum(1 for _ in search_operation(operation, 2, 1).modules())


def count_layers(drawn: Mixing, space: Space) -> int:
    """Count the layers of the operations drawn, as a measure of what they keep for the backward pass."""
    return sum(
        layers_of(names[choice])
        for kind, edges in space.candidates.items()
        for names, chosen in zip(edges, drawn[kind].active or (), strict=True)
        for choice in chosen
    )


def costliest_candidates(space: Space, keep: int) -> Space:
    """Return the space with as many candidates as a phase leaves: the last ones, convolutions, which cost the most."""
    # Which ones survive is known only after the phase. Convolutions come last in their order.
    last = ((kind, tuple(names[-keep:] for names in edges)) for kind, edges in space.candidates.items())
    return space.with_candidates(Candidates(last))


def stand_in(space: Space) -> Genotype:
    """Return an architecture whose network stands for that of the genotype, which only the search will know."""
    return STAND_IN if STAND_IN.skeleton == space.skeleton.name else random_genotype(space, generator(0, "stand-in"))


@functools.cache
def training_peak(
    settings: TrainingSettings,
    spec: NetworkSpec,
    shape: Shape,
    device: torch.device,
    genotype: Genotype = STAND_IN,
    scored: bool = False,
) -> int:
    """Predict the most bytes that training a network of that size takes, beside the images.

    Args:
        settings: the protocol.
        spec: size of the network.
        shape: size of the images.
        device: where it is trained.
        genotype: the architecture.
        scored: whether images are scored after every epoch.
    """
    counted, pieces = equivalent_pieces(settings.batch_size, settings.pieces)
    cut = settings.model_copy(update={"pieces": pieces})

    def step(on: torch.device) -> None:
        training_program(cut, spec, on, genotype)(shape.batch(settings.batch_size, on).head(counted))

    if not scored:
        return memory_of(step, device)
    images = shape.evaluated(settings.batch_size, device, settings.pieces)

    def score(on: torch.device) -> None:
        network, _ = steady_network(settings, spec, on, genotype)
        with evaluating(network):
            evaluate(network, [shape.batch(images, on)])

    rest = partial(steady_network, settings, spec, genotype=genotype)
    return peak_with_scores(step, score, rest, device, recorded=_records(device))


@functools.cache
def scoring_peak(genotype: Genotype, spec: NetworkSpec, shape: Shape, images: int, device: torch.device) -> int:
    """Predict the most bytes that a trained network takes to score so many images at a time, beside all of them."""

    def program(on: torch.device) -> None:
        with birthplace(on):
            model = build_network(genotype, spec)
        model.to(device=on, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with evaluating(model):
            evaluate(model, [shape.batch(images, on)])

    return memory_of(program, device)


def training_program(
    settings: TrainingSettings, spec: NetworkSpec, device: torch.device, genotype: Genotype = STAND_IN
) -> Callable[[Batch], tuple[Tensor, ...]]:
    """Return a training step of a network of that size, with all that it finds there from the step before."""
    return partial(train_step, *steady_network(settings, spec, device, genotype), settings)


def steady_network(
    settings: TrainingSettings, spec: NetworkSpec, device: torch.device, genotype: Genotype
) -> tuple[Network, torch.optim.SGD]:
    """Return a network in training and its optimiser, as a step finds them after the step before."""
    with birthplace(device):
        model = build_network(genotype, spec)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    model.drop_probability = settings.drop_path / 2
    optimiser = fresh_optimiser(model, settings)
    fill_optimiser_state(model, optimiser)
    return model, optimiser
