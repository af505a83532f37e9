"""What a search holds in memory at its peak: the largest of its steps, and into how many pieces it must be cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import torch

from nascommon.method import Method
from nascommon.runtime.memory import fewest_pieces
from nascommon.search.gradients import Batch
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.search.watch import hessian_eigenvalue
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import Candidates, Mixing
from nascommon.space.operations import CANDIDATES, search_operation
from nascommon.space.supernet import SupernetSpec
from stages.memory import Shape, memory_of, settle, surely_fits

DRAWS = 1000
"""Of a method that samples what is computed, the largest of so many samples stands for the largest of a search."""
INDUCED_COPIES = 3
"""Of the network weights that an induced pass holds besides: its model's weights, momenta and gradients."""
LAYERS = {name: sum(1 for _ in search_operation(name, 2, 1).modules()) for name in CANDIDATES}


def with_fixed_draw(method: Method, state: SearchState) -> Method:
    """Return the method without its sampler's numbers, but with the largest of many choices of what is computed.

    Samplers need real numbers, and what they draw is small: only ``active`` decides what a step holds.
    """
    if method.sample is None:
        return method
    use = next(iter(method.sample_in))
    with torch.no_grad():
        largest = state.draw(use)
        if largest.normal.active is not None:
            draws = (state.draw(use) for _ in range(DRAWS))
            largest = max(draws, key=lambda drawn: layers(drawn, state.spec.candidates))
    kinds = cycle(CELL_KINDS)  # the order in which a state asks its sampler
    return replace(
        method,
        sample=lambda _logits, mixing, _space, _progress: replace(mixing, active=largest.cell(next(kinds)).active),
    )


def layers(drawn: Mixing, candidates: Candidates) -> int:
    """Count the layers of the operations drawn, as a measure of what they keep for the backward pass."""
    return sum(
        LAYERS[names[choice]]
        for kind in CELL_KINDS
        for names, chosen in zip(candidates.cell(kind), drawn.cell(kind).active or (), strict=True)
        for choice in chosen
    )


def search_steps(
    method: Method, spec: SupernetSpec, shape: Shape, watched: int, pieces: int, device: torch.device
) -> None:
    """Do all in a phase that may take the most memory: both steps, and the watch of the Hessian on so many images."""
    state = new_state(method, spec, seed=0, phase=0, device=device)
    state.pieces = pieces
    settle(state.supernet, state.weight_optimiser)
    weights = list(state.supernet.parameters()) * INDUCED_COPIES if "induced" in method.passes else []
    held = [torch.empty_like(weight) for weight in weights]
    train, valid = (Batch(*shape.batch(method.batch_size, device)) for _ in range(2))
    if method.arch_gradient is not None:
        architecture_step(state, train, valid)
    weight_step(state, train)
    if method.arch_gradient is not None and watched:
        hessian_eigenvalue(state, Batch(valid.images[:watched], valid.labels[:watched]))
    del held


def search_pieces(method: Method, base: SupernetSpec, shape: Shape, device: torch.device) -> int:
    """Return the fewest pieces of a batch with which the steps of every phase fit into the free memory.

    The watch of the Hessian does not count: its images are not cut, so pieces would not help it.
    """
    pieces, candidates = 1, base.candidates
    for phase in method.phases:
        spec = supernet_spec(phase, candidates, base, method)
        if not surely_fits(spec.cells * len(spec.topology.edges) * len(method.candidates), spec.channels, shape,
                           method.batch_size, device):  # fmt: skip
            steady = with_fixed_draw(method, new_state(method, spec, seed=0, phase=0, device=device))

            def needs(count: int, method: Method = steady, spec: SupernetSpec = spec) -> int:
                return memory_of(lambda on: search_steps(method, spec, shape, 0, count, on), device)

            pieces = max(pieces, fewest_pieces(method.batch_size, needs, device))
        candidates = candidates if phase.keep is None else costliest_candidates(candidates, phase.keep)
    return pieces


def costliest_candidates(candidates: Candidates, keep: int) -> Candidates:
    """Return as many candidates as a phase leaves; the last ones, which are convolutions, cost the most."""
    return Candidates(*(tuple(names[-keep:] for names in candidates.cell(kind)) for kind in CELL_KINDS))
