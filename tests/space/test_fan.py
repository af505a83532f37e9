"""Sharing and stacking change neither what the supernet learns nor what it remembers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nascommon.search.scores import fresh_statistics
from nascommon.space import fan
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.operations import ReluFirst
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Topology
from tests.space.kinds import space_of, two
from tests.space.plain import plainly
from tests.space.test_supernet import images, soft, some_candidates

CLASSES = 5


def two_supernets(divisor: int = 1, operations: int = 8) -> tuple[Supernet, Supernet, Mixing]:
    topology = Topology(3)
    candidates = some_candidates(random.Random(1), topology, operations)
    supernets = []
    for _ in range(2):
        torch.manual_seed(0)
        spec = SupernetSpec(4, 3, CLASSES, space_of(candidates, topology), channel_divisor=divisor)
        supernets.append(Supernet(spec).double().train())
    return supernets[0], supernets[1], soft(candidates)


def some_active(mixing: Mixing, rng: random.Random) -> Mixing:
    """Leave out candidates, others on every edge, and on some edges all."""

    def cell(mixing: CellMixing) -> CellMixing:
        edges, operations = mixing.weights_EO.shape
        active = tuple(tuple(o for o in range(operations) if rng.random() < 0.4) for _ in range(edges))
        return CellMixing(mixing.weights_EO, active=active)

    return two(Mixing, cell(mixing["normal"]), cell(mixing["reduction"]))


def statistics(supernet: Supernet) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in supernet.named_buffers() if "num_batches" not in name}


@pytest.mark.slow
@pytest.mark.parametrize("divisor", [1, 2])
@pytest.mark.parametrize("stacked", [fan.STACKED, 0])
def test_running_statistics_are_those_of_every_edge_for_itself(
    divisor: int, stacked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan, "STACKED", stacked)
    ours, plain, mixing = two_supernets(divisor)
    rng = random.Random(0)
    steps = [mixing, *(some_active(mixing, rng) for _ in range(3)), mixing]
    for step, drawn in enumerate(steps):
        ours(images(step), drawn)
    plainly(monkeypatch)
    for step, drawn in enumerate(steps):
        plain(images(step), drawn)
    torch.testing.assert_close(statistics(ours), statistics(plain), rtol=1e-10, atol=1e-10)


def test_recalibration_averages_the_batches_that_each_batch_norm_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain, mixing = two_supernets()
    rng = random.Random(0)
    steps = [some_active(mixing, rng) for _ in range(3)]
    with fresh_statistics(ours), torch.no_grad():
        for step, drawn in enumerate(steps):
            ours(images(step), drawn)
        found = {name: buffer.clone() for name, buffer in statistics(ours).items()}
    plainly(monkeypatch)
    with fresh_statistics(plain), torch.no_grad():
        for step, drawn in enumerate(steps):
            plain(images(step), drawn)
        torch.testing.assert_close(found, statistics(plain), rtol=1e-10, atol=1e-10)


def test_evaluation_uses_the_statistics_of_every_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain, mixing = two_supernets()
    draws = torch.Generator().manual_seed(0)
    for supernet in (ours, plain):
        draws.manual_seed(0)
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(generator=draws)
                module.running_var.uniform_(0.5, 2, generator=draws)
    out = ours.eval()(images(), mixing)
    plainly(monkeypatch)
    torch.testing.assert_close(out, plain.eval()(images(), mixing), rtol=1e-10, atol=1e-10)


def test_second_derivatives_are_those_of_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for plain in (False, True):
        supernet, _, mixing = two_supernets(operations=5)
        if plain:
            plainly(monkeypatch)
        weights = [mixing["normal"].weights_EO, mixing["reduction"].weights_EO]
        slopes = torch.autograd.grad((supernet(images(), mixing) ** 2).sum(), weights, create_graph=True)
        parameters = [*weights, *supernet.parameters()]
        found.append(torch.autograd.grad(sum((s**2).sum() for s in slopes), parameters, materialize_grads=True))  # type: ignore[arg-type]
    for mine, other in zip(*found, strict=True):
        scale = float(other.abs().max().clamp(min=1))
        torch.testing.assert_close(mine / scale, other / scale, rtol=1e-9, atol=1e-9)


def test_the_state_dict_names_every_candidate_of_every_edge() -> None:
    ours, _, _ = two_supernets()
    for index, names in enumerate(ours.spec.space.candidates["normal"]):
        found = {key.split(".")[4] for key in ours.state_dict() if key.startswith(f"cells.0.edges.{index}.")}
        assert found == set(names) - {"none", "skip_connect"}


class Operations(TorchDispatchMode):
    """Counts what is dispatched to a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def dispatched() -> int:
    supernet, _, mixing = two_supernets()
    with Operations() as counted:
        supernet(images(), mixing).sum().backward()
    return int(counted.count)


def test_a_step_takes_less_than_half_of_the_operations_of_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = dispatched()
    plainly(monkeypatch)
    assert ours < 0.5 * dispatched()


def test_large_maps_on_a_cpu_are_convolved_one_edge_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet, _, mixing = two_supernets()
    inner, widths = fan.side_by_side, list[int]()

    def counted(operations: Sequence[ReluFirst], *rest: Any) -> Tensor:
        widths.append(len(operations))
        return inner(operations, *rest)

    monkeypatch.setattr(fan, "side_by_side", counted)
    found = []
    for stacked in (fan.STACKED, 0):
        monkeypatch.setattr(fan, "STACKED", stacked)
        widths.clear()
        supernet(images(0), mixing)
        found.append((max(widths), sum(widths)))
    assert found[0][0] > found[1][0] == 1
    assert found[0][1] == found[1][1]
