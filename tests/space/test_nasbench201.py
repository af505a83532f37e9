"""The space of NAS-Bench-201 is the benchmark's: its counts, its networks, and a supernet equal to a plain one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nascommon.cost.complexity import network_complexity
from nascommon.parts.discretizer import strongest_edges
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing, one_hot
from nascommon.space.nasbench201 import OPERATION_ORDER, NasBench201Network, NasBench201Supernet
from nascommon.space.nasbench201_text import all_genotypes, from_digits, to_digits
from nascommon.space.network import NetworkSpec, build_network
from nascommon.space.operations import Convolution, State, bare_operation
from nascommon.space.record import SpaceRecord
from nascommon.space.space import SPACES, find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.truth.table import load_table
from tests.space.gpu import as_on_a_gpu
from tests.space.nasbench201_twin import Twin

SPACE = SPACES["nasbench201"]
C, CELLS, CLASSES = 4, 6, 5


def assert_same(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    """Compare to 1e-10, relative to the largest value where that is above one."""
    scale = float(theirs.detach().abs().max().clamp(min=1))
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-10, atol=1e-10, msg=lambda text: f"{name}: {text}")


def randomised(module: nn.Module) -> None:
    """Draw every weight anew, affine ones too."""
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=draws) + (weight.dim() == 1))


def pair(divisor: int = 1, *, affine: bool = False) -> tuple[NasBench201Supernet, Twin]:
    """Return our supernet and the plain one with the same weights, in float64."""
    ours = SupernetSpec(C, CELLS, CLASSES, SPACE, channel_divisor=divisor, affine=affine).build()
    assert isinstance(ours, NasBench201Supernet)
    randomised(ours)
    theirs = Twin(C, CELLS, CLASSES, divisor, affine=affine)
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def images(batch: int = 5, side: int = 8) -> Tensor:
    return torch.randn(batch, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def soft_weights() -> Tensor:
    draws = torch.Generator().manual_seed(2)
    return torch.randn(6, 5, dtype=torch.float64, generator=draws).softmax(-1).requires_grad_()


ALL = [list(range(5)) for _ in range(6)]
SOME = [[0, 1, 3], [2], [], [1, 4], [3, 4], [0, 2, 3]]
DEAD = [[], [], [], [3], [3], [1, 2, 3, 4]]
"""Nodes 1 and 2 have no active input."""


@pytest.mark.parametrize("active", [ALL, SOME, DEAD], ids=["all", "some", "dead nodes"])
@pytest.mark.parametrize("divisor", [1, 2])
@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("way", ["one by one", "as one", "as on a GPU"])
def test_the_supernet_equals_a_plain_one_in_values_and_all_gradients(
    active: list[list[int]], divisor: int, *, affine: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "as on a GPU":
        as_on_a_gpu(monkeypatch)
    else:
        monkeypatch.setattr("nascommon.space.fan.STACKED", 2**18 if way == "as one" else 0)
    ours, theirs = pair(divisor, affine=affine)
    weights_EO, edges_E = soft_weights(), torch.linspace(0.2, 1.2, 6, dtype=torch.float64, requires_grad=True)
    mixing = Mixing({"cell": CellMixing(weights_EO, edges_E, None if active is ALL else tuple(map(tuple, active)))})
    got, wanted = ours(images(), mixing), theirs(images(), weights_EO, edges_E, active)
    assert_same(got, wanted)
    mine: dict[str, Tensor] = dict(ours.named_parameters())
    plain: dict[str, Tensor] = dict(theirs.named_parameters())
    assert mine.keys() == plain.keys()
    slopes = torch.randn(got.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for tensors in (mine, plain):
        tensors |= {"operations": weights_EO, "edges": edges_E}
    got_all = torch.autograd.grad(got, list(mine.values()), slopes, materialize_grads=True)
    wanted_all = torch.autograd.grad(wanted, list(plain.values()), slopes, materialize_grads=True)
    for name, mine_slope, plain_slope in zip(mine, got_all, wanted_all, strict=True):
        assert_same(mine_slope, plain_slope, name)
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        if "num_batches" not in name:
            assert_same(buffer, buffers[name], name)
    assert_same(ours.eval()(images(), mixing), theirs.eval()(images(), weights_EO, edges_E, active), "evaluation")


def test_equal_candidates_of_a_state_are_one_dense_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    plain = Convolution.run

    def watched(self: Convolution, x_BCHW: Tensor, kernels: Tensor, groups: int) -> Tensor:
        seen.append((len(kernels) // C, groups))
        return plain(self, x_BCHW, kernels, groups)

    supernet = SupernetSpec(C, 3, CLASSES, SPACE).build()
    monkeypatch.setattr(Convolution, "run", watched)
    supernet.cells[0]([State(torch.randn(2, C, 8, 8))], equal_mixing(SPACE).main)
    assert sorted(seen) == [(edges, 1) for edges in (1, 1, 2, 2, 3, 3)]  # both kernels, of states 2, 1 and 0


@pytest.mark.parametrize("digits", ["333333", "142301", "000000", "010343", "300003"])
def test_a_part_of_the_supernet_is_the_network_of_its_genotype(digits: str) -> None:
    genotype = from_digits(digits)
    supernet = SupernetSpec(C, CELLS, CLASSES, SPACE).build().double()
    spec = NetworkSpec(C, CELLS, CLASSES, auxiliary=False)
    network = NasBench201Network(genotype, spec, bare_operation, affine=False).double()
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            module.load_state_dict(supernet.get_submodule(place_of(name, digits)).state_dict())
    mixing = one_hot(genotype, SPACE, like=torch.zeros(1, dtype=torch.float64))
    assert_same(network(images()), supernet(images(), mixing))
    assert_same(network.eval()(images()), supernet.eval()(images(), mixing))


def place_of(name: str, digits: str) -> str:
    """Return where the supernet has a module of a network: ``cells.0.nodes.1.0.2`` is on the edge of that choice."""
    if not name.startswith("cells."):
        return name
    _, cell, _, node, choice, layer = name.split(".")
    edges = [edge for edge in SPACE.cells.main.topology.incoming[int(node) + 1] if digits[edge] != "0"]
    edge = edges[int(choice)]
    return f"cells.{cell}.edges.{edge}.{OPERATION_ORDER[int(digits[edge])]}.{layer}"


# -- counts --

PUBLISHED_SIZE = NetworkSpec(16, 15, 10, auxiliary=False)


def counts(digits: str) -> tuple[int, int]:
    """Parameters and multiply-adds by the number of convolutions."""
    large, small = digits.count("3"), digits.count("2")
    return 73_306 + 243_040 * large + 28_000 * small, 7_783_040 + 35_389_440 * large + 3_932_160 * small


@pytest.mark.parametrize("digits", ["000000", "333333", "222222", "444444", "142301", "010003"])
def test_parameters_and_multiply_adds_of_a_network_are_the_published(digits: str) -> None:
    found = network_complexity(from_digits(digits), PUBLISHED_SIZE, 32, 32)
    assert (found.params, found.mult_adds) == counts(digits)
    assert found.params_with_auxiliary == found.params


def test_counts_of_all_cells_are_those_of_the_table() -> None:
    table = load_table()
    assert set(table.digits) == set(map(to_digits, all_genotypes()))
    rows = list(zip(table.digits, table.params, table.macs, strict=True))
    assert all(counts(digits) == (params, macs) for digits, params, macs in rows)
    for digits, params, macs in rows[:: len(rows) // 5]:
        found = network_complexity(from_digits(digits), PUBLISHED_SIZE, 32, 32)
        assert (found.params, found.mult_adds) == (params, macs)


# -- the space --


def test_it_has_15625_cells_and_survives_a_file() -> None:
    assert SPACE.cells.main.operations ** len(SPACE.cells.main.candidates) == 15_625
    for genotype in (from_digits("000000"), from_digits("142301")):
        assert genotype_from_json(genotype.to_json()) == genotype
    assert SpaceRecord.of(SPACE).open() == replace(SPACE, settable=frozenset())


def test_none_takes_part_and_wins_only_where_it_may() -> None:
    weights_EO = torch.tensor([[0.6, 0.1, 0.1, 0.2, 0.0]] * 6)
    mixing = Mixing({"cell": CellMixing(weights_EO)})
    assert to_digits(strongest_edges(mixing, SPACE)) == "000000"
    never = find_space("nasbench201", none_wins=False)
    assert never.candidates == SPACE.candidates
    assert to_digits(strongest_edges(mixing, never)) == "333333"
    assert SpaceRecord.of(never).open().cells == never.cells
    assert "0" not in {digit for seed in range(20) for digit in to_digits(random_genotype(never, draws(seed)))}
    with pytest.raises(ValueError, match=r"none_wins: in space darts none never wins an edge"):
        find_space("darts", none_wins=True)
    assert find_space("darts", none_wins=False) == SPACES["darts"]


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_candidates_that_no_string_of_the_benchmark_can_name_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"candidates: space nasbench201 has none, skip_connect, .*\(got sep_conv_3x3\)"
    ):
        find_space("nasbench201", candidates=("skip_connect", "sep_conv_3x3"))


def test_without_none_every_edge_stays() -> None:
    assert find_space("nasbench201", candidates=OPERATION_ORDER[1:]).candidates.main[0] == OPERATION_ORDER[1:]
    assert SPACE.without_none().candidates.main[0] == OPERATION_ORDER[1:]


@pytest.mark.parametrize("cells", [4, 8])
def test_another_depth_than_three_times_n_is_refused(cells: int) -> None:
    with pytest.raises(ValueError, match=rf"cells: networks of nasbench201 have a multiple of 3 \(got {cells}\)"):
        SupernetSpec(C, cells, CLASSES, SPACE).build()
    with pytest.raises(ValueError, match="multiple of 3"):
        build_network(from_digits("333333"), NetworkSpec(C, cells, CLASSES))


def test_images_of_any_size_divisible_by_four_will_do() -> None:
    network = build_network(from_digits("342301"), NetworkSpec(C, 3, CLASSES))
    for side in (4, 12, 20):
        assert network(torch.randn(2, 3, side, side)).shape == (2, CLASSES)
    assert network.forward_auxiliary(torch.randn(2, 3, 8, 8))[1] is None


@pytest.mark.parametrize("gpu", [False, True], ids=["CPU", "as on a GPU"])
def test_cells_without_weights_are_searched_as_well(*, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if gpu:
        as_on_a_gpu(monkeypatch)
    space = find_space("nasbench201", candidates=("skip_connect", "avg_pool_3x3"))
    supernet = SupernetSpec(C, 3, CLASSES, space).build()
    weights_EO = torch.full((6, 2), 0.5, requires_grad=True)
    supernet(images().float(), Mixing({"cell": CellMixing(weights_EO)})).square().sum().backward()
    assert weights_EO.grad is not None
    assert weights_EO.grad.abs().min() > 0
