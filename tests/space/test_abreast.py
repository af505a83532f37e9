"""What a GPU computes abreast is what the candidates compute one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from nascommon.search.scores import fresh_statistics
from nascommon.space.abreast import Positions, gathered, pointwise, repeated_channels, summed
from nascommon.space.mixing import Mixing
from nascommon.space.operations import Convolution
from nascommon.space.space import find_space
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Topology
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
            found.append({name: buffer.clone() for name, buffer in supernet.named_buffers()})
    close(*found)


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


def test_an_edge_that_is_not_there_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for way in (as_on_a_gpu, plainly):
        supernet, mixing = supernet_of(SPACES[0])
        way(monkeypatch)
        dead = Mixing((kind, replace(cell, active=((),) * len(cell.weights_EO))) for kind, cell in mixing.items())
        found.append(supernet(images(), dead))
    close(*found)


class Operations(TorchDispatchMode):
    """Lists what is dispatched to a device, views aside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        if not function.is_view:
            self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def maps(channels: int) -> Tensor:
    draws = torch.Generator().manual_seed(channels)
    made = torch.randn(3, channels, 4, 5, dtype=torch.float64, generator=draws)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def test_a_product_with_blocks_is_a_grouped_pointwise_convolution_and_copies_no_map() -> None:
    x_BDHW, kernels_NCC = maps(12), torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    with Operations() as done:
        out = pointwise(x_BDHW, kernels_NCC)
    assert done.names == ["diag_embed", "mm", "_unsafe_view"]
    plain = functional.conv2d(x_BDHW, kernels_NCC.flatten(0, 1)[:, :, None, None], groups=4)
    close(out, plain)
    assert out.is_contiguous(memory_format=torch.channels_last)
    slope = maps(12).detach()
    wanted = [x_BDHW, kernels_NCC]
    ours, theirs = (torch.autograd.grad((each * slope).sum(), wanted) for each in (out, plain))
    close(ours, theirs)
    assert ours[0].is_contiguous(memory_format=torch.channels_last)


def test_repeated_and_summed_channels_keep_the_layout() -> None:
    x_BCHW = maps(3)
    repeated = repeated_channels(x_BCHW, 4)
    assert torch.equal(repeated, torch.cat([x_BCHW] * 4, dim=1))
    total = summed(repeated, 4)
    close(total, 4 * x_BCHW)
    (gradient,) = torch.autograd.grad(total.sum(), x_BCHW)
    close(gradient, torch.full_like(x_BCHW, 4))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (repeated, total, gradient))


def test_kernels_are_gathered_by_one_copy_but_where_fast_reads_need_another() -> None:
    kernels = [Convolution(6, 6, side, padding=side // 2, groups=6, bias=False) for side in (3, 5, 1)]
    with Operations() as done:
        parts = list(gathered([[kernels[0]], [kernels[1], kernels[0]], [kernels[2]]], torch.bfloat16))
    assert done.names == ["cat", "_to_copy", "clone", "clone"]
    wanted = [[kernels[0]], [kernels[1], kernels[0]], [kernels[2]]]
    for part, same in zip(parts, wanted, strict=True):
        assert torch.equal(part, torch.cat([each.weight.flatten() for each in same]).bfloat16())
        assert part.storage_offset() % 8 == 0


def test_positions_are_made_once_for_an_order() -> None:
    positions, weights_EO = Positions(), torch.arange(6).view(2, 3)
    first = positions([(1, 2), (0, 1)], weights_EO)
    assert weights_EO.flatten()[first].tolist() == [5, 1]
    assert positions([(1, 2), (0, 1)], weights_EO) is first
    assert positions([(1, 0)], weights_EO).tolist() == [3]
