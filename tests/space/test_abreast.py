"""What a GPU computes abreast is what the candidates compute one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from nascommon.data.batch import Batch
from nascommon.kernels.batch_norm import running_statistics
from nascommon.kernels.depthwise import repeated_channels
from nascommon.kernels.pointwise import products
from nascommon.runtime.together import as_one, joined
from nascommon.search.scores import fresh_statistics, recalibrated_scores, supernet_scores
from nascommon.space import plan as plan_module
from nascommon.space import supernet as module
from nascommon.space.abreast import Gathered, gathered, matrices, spread
from nascommon.space.mixing import Mixing
from nascommon.space.plan import PARTIAL, Plan, block_positions
from nascommon.space.space import find_space
from nascommon.space.supernet import Supernet, SupernetSpec, interleaved
from nascommon.space.topology import Topology
from tests.kernels.in_interpreter import passes_in_interpreter
from tests.operations import Operations
from tests.space.gpu import as_on_a_gpu
from tests.space.kinds import space_of
from tests.space.plain import plainly
from tests.space.test_fan import some_active, statistics
from tests.space.test_supernet import images, soft, some_candidates

CLASSES = 5
SPACES = ["equal candidates", "others on every edge"]


def supernet_of(candidates: str, divisor: int = 1) -> tuple[Supernet, Mixing]:
    topology = Topology(3)
    space = find_space("darts", 3)
    if candidates != SPACES[0]:
        space = space_of(some_candidates(random.Random(1), topology, 6), topology)
    torch.manual_seed(0)
    supernet = Supernet(SupernetSpec(4, 3, CLASSES, space, channel_divisor=divisor)).double().train()
    return supernet, soft(space.candidates)


@pytest.fixture(params=SPACES)
def twins(request: pytest.FixtureRequest) -> list[tuple[Supernet, Mixing]]:
    return [supernet_of(request.param) for _ in range(2)]


def close(mine: object, other: object) -> None:
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_running_statistics_are_those_of_every_edge_for_itself(
    twins: list[tuple[Supernet, Mixing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours, mixing), (plain, _) = twins
    rng = random.Random(0)
    steps = [mixing, *(some_active(mixing, rng) for _ in range(2)), mixing]
    as_on_a_gpu(monkeypatch)
    for step, drawn in enumerate(steps):
        ours(images(step), drawn)
    plainly(monkeypatch)
    for step, drawn in enumerate(steps):
        plain(images(step), drawn)
    close(statistics(ours), statistics(plain))


@pytest.mark.parametrize("candidates", SPACES)
def test_what_lies_together_is_computed_and_moved_as_what_does_not(
    candidates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    found = []
    for together in (True, False):
        supernet, mixing = supernet_of(candidates)
        if together:
            supernet.lay_together()
        rng = random.Random(0)
        for step, drawn in enumerate([mixing, some_active(mixing, rng), mixing]):
            supernet.zero_grad()
            supernet(images(step), drawn).square().sum().backward()
        kernels = [each.weight for alike in whole_plan(supernet, mixing).convolutions for each, _ in alike]
        norms = whole_plan(supernet, mixing).norms
        lists = kernels, [each.grad for each in kernels if each.grad is not None]
        assert (as_one(running_statistics(norms)) is not None) == together
        assert (len(joined(*lists)[0]) == 1) == together
        gradients = {name: each.grad for name, each in supernet.named_parameters()}
        found.append({**gradients, **statistics(supernet)})
    close(*found)


def whole_plan(supernet: Supernet, mixing: Mixing) -> Plan:
    return supernet._plan(mixing, torch.device("cpu"))


def test_virtual_weights_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a step that is looked ahead lie elsewhere, and running statistics that it moves are thrown away."""
    as_on_a_gpu(monkeypatch)
    supernet, mixing = supernet_of(SPACES[0])
    supernet.lay_together()
    kept = {name: buffer.clone() for name, buffer in statistics(supernet).items()}
    others = {name: 1.5 * each.detach() for name, each in supernet.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    found = functional_call(supernet, {**others, **buffers}, (images(), mixing))
    close(statistics(supernet), kept)
    assert all(not torch.equal(buffers[name], kept[name]) for name in kept if "running" in name)
    supernet.load_state_dict({**supernet.state_dict(), **others})
    close(found, supernet(images(), mixing))


@pytest.mark.slow
def test_a_supernet_by_the_kernels_of_a_gpu_is_the_plain_one() -> None:
    passes_in_interpreter("tests.space.interpreted")


def test_recalibration_averages_the_batches_that_each_batch_norm_saw(
    twins: list[tuple[Supernet, Mixing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for (supernet, mixing), way in zip(twins, (as_on_a_gpu, plainly), strict=True):
        way(monkeypatch)
        rng = random.Random(0)
        with fresh_statistics(supernet), torch.no_grad():
            for step in range(3):
                supernet(images(step), some_active(mixing, rng))
            found.append({name: buffer.clone() for name, buffer in statistics(supernet).items()})
    close(*found)


@pytest.mark.parametrize("divisor", [1, 4])
@pytest.mark.parametrize("candidates", SPACES)
def test_evaluation_normalises_by_the_running_statistics_of_every_edge(
    candidates: str, divisor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet, mixing = supernet_of(candidates, divisor)
    if divisor > 1:
        mixing = Mixing(
            (kind, replace(cell, edges_E=torch.rand(len(cell.weights_EO)))) for kind, cell in mixing.items()
        )
    draws = torch.Generator().manual_seed(0)
    for name, buffer in statistics(supernet).items():
        buffer.normal_(generator=draws)
        if name.endswith("running_var"):
            buffer.abs_().add_(0.1)
    supernet.eval()
    as_on_a_gpu(monkeypatch)
    found = [supernet(images(), mixing)]
    with supernet.still():
        found += [supernet(images(), mixing) for _ in range(2)]
    plainly(monkeypatch)
    for mine in found:
        close(mine, supernet(images(), mixing))


def test_a_map_that_is_its_mean_gives_nothing_also_where_weights_are_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rounded in a weight would else be added to a node as many times as the mean says."""
    supernet, mixing = supernet_of(SPACES[0])
    supernet.float().eval().spec = replace(supernet.spec, precision="bfloat16")
    for name, buffer in statistics(supernet).items():
        buffer.fill_(5.0 if name.endswith("mean") else 0.3)
    as_on_a_gpu(monkeypatch)
    found = supernet._gathered(images().float(), mixing)
    numbers_M = torch.cat([matrix.flatten() for pair in found.mixed for matrix in pair])[found.plan.mixed_M].float()
    means = [torch.zeros(C) if norm is None else norm.running_mean for norm, C in found.plan.shifts.ends]
    given_M = numbers_M * torch.cat(means)  # type: ignore[arg-type]
    for shift_D in found.shifts:
        assert shift_D.abs().max() > 1
    entered = found.plan.shifts.positions_M // found.plan.shifts.most
    nothing = torch.cat([*found.shifts]).index_add(0, entered, given_M)
    torch.testing.assert_close(nothing, torch.zeros_like(nothing), rtol=0, atol=1e-5)


def test_weights_that_stand_still_are_gathered_once_for_a_mixing(
    twins: list[tuple[Supernet, Mixing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    (supernet, mixing), (_, other) = twins
    seen: list[Tensor] = []

    class Seen(Gathered):
        def __init__(self, plan: Plan, weights: Sequence[Tensor], *given: Any, **options: Any) -> None:
            seen.append(weights[0])
            super().__init__(plan, weights, *given, **options)

    monkeypatch.setattr(module, "Gathered", Seen)
    with torch.no_grad(), supernet.still():
        for given in (mixing, mixing, other, other):
            supernet(images(), given)
        supernet.eval()(images(), other)
    for _ in range(2):
        supernet(images(), other)
    assert len(seen) == 2 + 1 + 2


def test_scores_are_those_of_the_plain_way(
    twins: list[tuple[Supernet, Mixing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [Batch(images(step), torch.arange(len(images(step))) % CLASSES) for step in range(3)]
    found = []
    for (supernet, mixing), way in zip(twins, (as_on_a_gpu, plainly), strict=True):
        way(monkeypatch)
        supernet.set_skip_dropout(0.5)
        found += [supernet_scores(supernet, mixing, batches), recalibrated_scores(supernet, mixing, batches, batches)]
    assert found[:2] == [pytest.approx(each, rel=1e-9) for each in found[2:]]
    assert found[0] != found[1]


def test_second_derivatives_are_those_of_the_plain_way(
    twins: list[tuple[Supernet, Mixing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for (supernet, mixing), way in zip(twins, (as_on_a_gpu, plainly), strict=True):
        way(monkeypatch)
        weights = [cell.weights_EO for cell in mixing.values()]
        slopes = torch.autograd.grad((supernet(images(), mixing) ** 2).sum(), weights, create_graph=True)
        wanted = [*weights, *supernet.parameters()]
        found.append(torch.autograd.grad(sum((s**2).sum() for s in slopes), wanted, materialize_grads=True))  # type: ignore[arg-type]
    for mine, other in zip(*found, strict=True):
        scale = float(other.abs().max().clamp(min=1))
        close(mine / scale, other / scale)


def alike(supernet: Supernet, mixing: Mixing) -> list[list[tuple[int, ...]]]:
    cells = zip(supernet.cells, supernet.kinds, strict=True)
    return [[tuple(states) for states in cell.plan(mixing[kind]).alike] for cell, kind in cells]  # type: ignore[operator]


def test_states_that_enter_a_cell_are_computed_as_one_where_they_differ_in_numbers_alone() -> None:
    supernet, mixing = supernet_of(SPACES[0])
    assert alike(supernet, mixing) == [[(0, 1), (2,), (3,)]] * 3
    every = tuple(range(8))
    for pruned in ((every[:-1], every), ((), every), (every, ())):  # of the first edges of both states
        active = *pruned, *(every for _ in mixing["normal"].weights_EO[2:])
        some = Mixing((kind, replace(cell, active=active)) for kind, cell in mixing.items())
        assert alike(supernet, some) == [[(0,), (1,), (2,), (3,)]] * 3
    supernet, mixing = supernet_of(SPACES[1])
    assert alike(supernet, mixing) == [[(0,), (1,), (2,), (3,)]] * 3


def test_an_edge_that_is_not_there_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for way in (as_on_a_gpu, plainly):
        supernet, mixing = supernet_of(SPACES[0])
        way(monkeypatch)
        dead = Mixing((kind, replace(cell, active=((),) * len(cell.weights_EO))) for kind, cell in mixing.items())
        found.append(supernet(images(), dead))
    close(*found)


def test_a_cell_that_nobody_reads_has_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not zeros, by which optimisers would go on with momentum and decay its weights."""
    found = []
    for way in (as_on_a_gpu, plainly):
        supernet, mixing = supernet_of(SPACES[0])
        way(monkeypatch)
        edges, every = Topology(3).edges, tuple(range(8))
        active = tuple(() if edge.source == 1 else every for edge in edges)
        supernet(
            images(), Mixing((kind, replace(cell, active=active)) for kind, cell in mixing.items())
        ).sum().backward()
        found.append({name for name, parameter in supernet.named_parameters() if parameter.grad is None})
    assert found[0] == found[1]
    assert any(name.startswith("cells.1.edges") for name in found[0])


def maps(channels: int) -> Tensor:
    draws = torch.Generator().manual_seed(channels)
    made = torch.randn(3, channels, 4, 5, dtype=torch.float64, generator=draws)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("states", [1, 3])
def test_a_product_with_blocks_is_a_grouped_pointwise_convolution_and_copies_no_map(states: int) -> None:
    x_BDHW, kernels_SNCC = maps(12), torch.randn(states, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    positions = [place * 12**2 + block_positions(4, 3, 12) for place in range(states)]
    (blocks,) = matrices(kernels_SNCC.flatten(), torch.cat(positions), [(states, 12, 12)])
    with Operations() as done:
        out = products(x_BDHW, blocks)
    assert done.names == ["bmm"]
    kernels_SD11 = kernels_SNCC.flatten(1, 2)[..., None, None]
    apart = zip(x_BDHW.chunk(states), kernels_SD11, strict=True)
    plain = torch.cat([functional.conv2d(x, kernels, groups=4) for x, kernels in apart])
    close(out, plain)
    slope = maps(12).detach()
    wanted = [x_BDHW, kernels_SNCC]
    ours, theirs = (torch.autograd.grad((each * slope).sum(), wanted) for each in (out, plain))
    close(ours, theirs)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (out, ours[0]))


def test_repeated_and_spread_channels_keep_the_layout() -> None:
    x_BCHW = maps(3)
    repeated, wide = repeated_channels(x_BCHW, 4), spread(x_BCHW, 4)
    assert torch.equal(repeated, torch.cat([x_BCHW] * 4, dim=1))
    assert torch.equal(wide, interleaved([x_BCHW, *[torch.zeros_like(x_BCHW)] * 3]))
    gradients = torch.autograd.grad(repeated.sum() + wide.sum(), x_BCHW)
    close(gradients[0], torch.full_like(x_BCHW, 5))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (repeated, wide, *gradients))


def test_kernels_are_gathered_by_one_copy_and_one_conversion() -> None:
    draws = torch.Generator().manual_seed(0)
    kernels = [torch.randn(6, 1, side, side, generator=draws) for side in (3, 5)]
    with Operations() as done:
        parts = gathered([[kernels[0]], [], [kernels[1], kernels[0]]], kernels[0], torch.bfloat16)
    assert [name for name in done.names if "empty" not in name] == ["cat", "_to_copy"]
    assert torch.equal(parts[0], kernels[0].flatten().bfloat16())
    assert torch.equal(parts[2], torch.cat([kernels[1].flatten(), kernels[0].flatten()]).bfloat16())
    assert len(parts[1]) == 0


@pytest.mark.parametrize("candidates", SPACES)
@pytest.mark.parametrize("divisor", [1, 2])
def test_weights_of_all_cells_are_gathered_at_once(
    candidates: str, divisor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of kernels and of mixing weights, those of all three cells are taken together, and put into matrices."""
    as_on_a_gpu(monkeypatch)
    supernet, mixing = supernet_of(candidates, divisor)
    with Operations() as done:
        supernet(images(), mixing)
    assert [done.names.count(name) for name in ("index_select", "new_zeros", "index_copy_")] == [2, 2, 2]


def test_plans_that_a_recording_may_read_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    supernet, mixing = supernet_of(SPACES[0])
    supernet(images(), mixing)
    (made,) = supernet.plans._whole.values()
    rng = random.Random(0)
    for step in range(PARTIAL + 2):
        supernet(images(step), some_active(mixing, rng))
    assert len(supernet.plans._partial) == PARTIAL
    supernet(images(1), mixing)
    assert [*supernet.plans._whole.values()] == [made]
    supernet.set_skip_dropout(0.5)
    supernet(images(1), mixing)
    assert len(supernet.plans._whole) == 2


def test_plans_of_training_steps_have_nothing_that_running_statistics_alone_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Methods that sample need another plan in every step, which waits for it."""
    as_on_a_gpu(monkeypatch)
    supernet, mixing = supernet_of(SPACES[0])
    supernet(images(), some_active(mixing, random.Random(0)))
    monkeypatch.setattr(plan_module, "ranks_among_equals", None)
    supernet(images(), some_active(mixing, random.Random(1)))
    with pytest.raises(TypeError):
        supernet.eval()(images(), mixing)


class Copies(TorchDispatchMode):
    """Lists of each copy from the host to the device whether it goes on without waiting."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at_once: list[bool] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and result.is_meta and not args[0].is_meta:
            self.at_once.append(bool((kwargs or {}).get("non_blocking")))
        return result


def test_positions_of_new_places_reach_the_device_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every induced pass brings a copy of the supernet and a genotype, for which there is no plan."""
    as_on_a_gpu(monkeypatch)
    supernet, mixing = supernet_of(SPACES[0])
    supernet, x_BCHW = supernet.to("meta"), images().to("meta")
    some = some_active(mixing, random.Random(0))
    drawn = Mixing((kind, replace(cell, weights_EO=cell.weights_EO.to("meta"))) for kind, cell in some.items())
    with Copies() as copies:
        supernet(x_BCHW, drawn)
    assert copies.at_once
    assert all(copies.at_once)


@pytest.mark.parametrize("divisor", [2, 4])
def test_partial_channels_bypass_with_the_weights_of_their_edges(divisor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some edges are not there, where nothing bypasses either."""
    found = []
    for way in (as_on_a_gpu, plainly):
        supernet, mixing = supernet_of(SPACES[1], divisor)
        way(monkeypatch)
        draws = torch.Generator().manual_seed(1)
        edges = {kind: torch.rand(len(cell.weights_EO), generator=draws).double() for kind, cell in mixing.items()}
        drawn = some_active(mixing, random.Random(3))
        wide = Mixing((kind, replace(cell, edges_E=edges[kind].requires_grad_())) for kind, cell in drawn.items())
        out = supernet(images(), wide)
        wanted = [*edges.values(), *(cell.weights_EO for cell in mixing.values()), *supernet.parameters()]
        found.append([out, *torch.autograd.grad((out**2).sum(), wanted, materialize_grads=True)])
    for mine, other in zip(*found, strict=True):
        close(mine, other)
