"""A phase begins with weights and logits that the seed and the phase decide, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nascommon.parts.choices import Sample
from nascommon.parts.control import Progress
from nascommon.parts.logits import CellLogits, initial_logits, with_normal_beta
from nascommon.runtime.seeding import generator
from nascommon.search.state import new_state
from nascommon.space.mixing import CellMixing
from nascommon.space.space import CellSpace
from tests.search.small import CPU, tiny_method, tiny_spec, wide_alpha

METHOD = tiny_method(initialise=with_normal_beta(wide_alpha, 1.0))


def start(seed: int, phase: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return logits and random network weights of a fresh state, whatever was drawn before."""
    torch.manual_seed(torch.seed())
    state = new_state(METHOD, tiny_spec(), seed=seed, phase=phase, device=CPU)
    return state.logits.named(), {name: w for name, w in state.supernet.named_parameters() if w.ndim > 1}


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(("other", "same"), [((3, 0), True), ((4, 0), False), ((3, 1), False)])
def test_seed_and_phase_decide_every_logit_and_every_weight(part: int, other: tuple[int, int], same: bool) -> None:
    ours, theirs = start(3, 0)[part], start(*other)[part]
    assert list(ours) == list(theirs)
    assert {torch.equal(ours[name], theirs[name]) for name in ours} == {same}


def test_the_logits_are_those_of_their_own_stream() -> None:
    expected = initial_logits(METHOD.initialise, tiny_spec().space, generator(3, "logits", 1), CPU)
    for name, tensor in start(3, 1)[0].items():
        assert torch.equal(tensor, expected.named()[name])
    normal, reduction = expected["normal"].alpha_EO, expected["reduction"].alpha_EO
    assert not torch.equal(normal, reduction)


@pytest.mark.parametrize("kind", [None, "normal", "reduction"])
def test_a_step_varies_where_a_sampler_leaves_operations_out_of_any_kind_of_cell(kind: str | None) -> None:
    """What varies must not be recorded: a replay would compute the operations of the first draw for ever."""
    kinds = iter(tiny_spec().space.cells)

    def draw(_logits: CellLogits, mixing: CellMixing, cell: CellSpace, _progress: Progress) -> CellMixing:
        first_of_each = ((0,),) * len(cell.candidates)
        return replace(mixing, active=first_of_each) if next(kinds) == kind else mixing

    state = new_state(replace(METHOD, sample=Sample(draw)), tiny_spec(), seed=0, phase=0, device=CPU)
    state.draw("weights")
    assert state.varies == (kind is not None)
