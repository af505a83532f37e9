"""Partial channels, the ImageNet stem and dropout on skips do in the supernet what the papers say.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``E`` edges, ``O`` operations, ``K`` classes.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.twin import Twin
from nascommon.space.genotype import DARTS_KINDS
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.operations import CANDIDATES, FactorizedReduce, State
from nascommon.space.stem import Stem
from nascommon.space.supernet import Supernet, SupernetCell, SupernetSpec, interleaved
from nascommon.space.topology import Topology
from tests.space.kinds import cell_space, space_of, two

CLASSES = 5


def make(nodes: int, divisor: int, cells: int = 4, channels: int = 4, stem: Stem = "cifar") -> Supernet:
    torch.manual_seed(nodes)
    topology = Topology(nodes)
    space = space_of(CANDIDATES, topology)
    return Supernet(SupernetSpec(channels, cells, CLASSES, space, 3, divisor, stem)).double().train()


def images(side: int = 8) -> Tensor:
    return torch.randn(3, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def soft(nodes: int, *, edges: bool = True) -> Mixing:
    draws = torch.Generator().manual_seed(nodes)
    count = len(Topology(nodes).edges)
    cells = []
    for _ in DARTS_KINDS:
        weights = torch.randn(count, 8, dtype=torch.float64, generator=draws).softmax(-1).requires_grad_()
        shares = torch.rand(count, dtype=torch.float64, generator=draws).requires_grad_()
        cells.append(CellMixing(weights, shares if edges else None))
    return two(Mixing, *cells)


def sparse(nodes: int, seed: int) -> Mixing:
    """Return soft weights of which one candidate or none is active on each edge."""
    rng = random.Random(seed)
    mixing = soft(nodes)
    count = len(Topology(nodes).edges)

    def active() -> tuple[tuple[int, ...], ...]:
        return tuple((rng.randrange(1, 8),) if rng.random() < 0.5 else () for _ in range(count))

    return two(Mixing, *(replace(mixing[kind], active=active()) for kind in DARTS_KINDS))


def assert_same_everywhere(supernet: Supernet, mixing: Mixing) -> None:
    """Compare outputs and all gradients with the twin's to 1e-10, relative to the largest where that is above one."""
    weights = dict(supernet.named_parameters())
    outputs = [supernet(images(), mixing), Twin(supernet.spec, weights, mixing).logits(images())]
    tensors = [*weights.values(), *(mixing[kind].weights_EO for kind in DARTS_KINDS)]
    names = [*weights, "normal.weights_EO", "reduction.weights_EO"]
    for kind in DARTS_KINDS:
        edges_E = mixing[kind].edges_E
        if edges_E is not None:
            tensors.append(edges_E)
            names.append(f"{kind}.edges_E")
    values = torch.randn(3, CLASSES, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((out * values).sum(), tensors, materialize_grads=True) for out in outputs)
    pairs = [("logits", *(out.detach() for out in outputs)), *zip(names, ours, theirs, strict=True)]
    for name, mine, other in pairs:
        scale = float(other.abs().max().clamp(min=1))
        close = torch.allclose(mine / scale, other / scale, rtol=1e-10, atol=1e-10)
        assert close, name


# -- partial channels --


@pytest.mark.parametrize("nodes", [2, 3, 4])
@pytest.mark.parametrize("divisor", [1, 2, 4])
def test_outputs_and_all_gradients_equal_a_plain_twin_that_shuffles_on_every_edge(nodes: int, divisor: int) -> None:
    assert_same_everywhere(make(nodes, divisor), soft(nodes))


@pytest.mark.parametrize("divisor", [2, 4])
def test_without_edge_weights_every_edge_and_its_bypass_count_once(divisor: int) -> None:
    assert_same_everywhere(make(2, divisor), soft(2, edges=False))


@pytest.mark.parametrize("divisor", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_edge_without_an_active_candidate_gives_no_bypass(divisor: int, seed: int) -> None:
    assert_same_everywhere(make(3, divisor), sparse(3, seed))


@pytest.mark.parametrize("divisor", [1, 4])
def test_a_node_without_any_active_edge_gives_zeros(divisor: int) -> None:
    mixing = soft(2)
    active = ((), (), (3,), (), (4,))
    mixing = two(Mixing, *(replace(mixing[kind], active=active) for kind in DARTS_KINDS))
    supernet = make(2, divisor)
    first_cells: list[Tensor] = []
    supernet.cells[0].register_forward_hook(lambda _m, _i, out: first_cells.append(out))
    assert_same_everywhere(supernet, mixing)
    assert (first_cells[0][:, :4] == 0).all()
    assert (first_cells[0][:, 4:] != 0).any()


def test_with_all_channels_mixed_edge_weights_only_multiply_those_of_the_candidates() -> None:
    supernet, mixing = make(4, 1), soft(4)
    products = two(Mixing, *(CellMixing(mixing[kind].products()) for kind in DARTS_KINDS))
    torch.testing.assert_close(supernet(images(), mixing), supernet(images(), products), rtol=1e-12, atol=1e-12)


def test_the_bypass_is_weighed_by_its_edge_too() -> None:
    supernet, mixing = make(4, 4), soft(4)
    products = two(Mixing, *(CellMixing(mixing[kind].products()) for kind in DARTS_KINDS))
    assert not torch.allclose(supernet(images(), mixing), supernet(images(), products))


def test_candidates_have_a_kth_of_the_channels() -> None:
    supernet = make(2, 4, channels=16)
    assert supernet.get_submodule("cells.0.edges.0.sep_conv_3x3.1").weight.shape == (4, 1, 3, 3)
    assert supernet.get_submodule("cells.0.preprocess1.1").weight.shape == (16, 48, 1, 1)


def test_the_shuffle_interleaves_the_parts() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert interleaved(x.chunk(4, dim=1)).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


@pytest.mark.parametrize(("channels", "divisor"), [(6, 4), (3, 2), (4, 8)])
def test_channels_that_the_divisor_does_not_divide_are_refused(channels: int, divisor: int) -> None:
    with pytest.raises(ValueError, match=f"{channels} channels cannot be divided into {divisor} equal parts"):
        make(2, divisor, channels=channels)


# -- the ImageNet stem --


def test_the_imagenet_stem_halves_twice_for_the_first_and_three_times_for_the_second_input() -> None:
    supernet = make(2, 1, stem="imagenet", cells=3)
    seen: list[torch.Size] = []
    supernet.cells[0].register_forward_pre_hook(lambda _m, inputs: seen.extend(x.x_BCHW.shape for x in inputs[0]))
    logits = supernet(images(64), soft(2))
    assert seen == [(3, 12, 16, 16), (3, 12, 8, 8)]
    assert logits.shape == (3, CLASSES)


def test_the_imagenet_stem_is_as_wide_as_the_papers() -> None:
    with torch.device("meta"):
        supernet = make(2, 2, stem="imagenet", cells=3, channels=16)
    shapes = {name: tuple(p.shape) for name, p in supernet.named_parameters() if name.startswith("stem.")}
    assert shapes == {
        "stem.0.0.weight": (24, 3, 3, 3),
        "stem.0.1.weight": (24,),
        "stem.0.1.bias": (24,),
        "stem.0.3.weight": (48, 24, 3, 3),
        "stem.0.4.weight": (48,),
        "stem.0.4.bias": (48,),
        "stem.1.1.weight": (48, 48, 3, 3),
        "stem.1.2.weight": (48,),
        "stem.1.2.bias": (48,),
    }


@pytest.mark.parametrize(("stem", "reduces"), [("imagenet", True), ("cifar", False)])
def test_the_first_cell_halves_its_first_input_only_behind_the_imagenet_stem(stem: Stem, reduces: bool) -> None:
    supernet = make(2, 1, stem=stem, cells=4)
    halving = [isinstance(cell.get_submodule("preprocess0"), FactorizedReduce) for cell in supernet.cells]
    assert halving == [reduces, False, True, True]
    assert not any(isinstance(cell.get_submodule("preprocess1"), FactorizedReduce) for cell in supernet.cells)


# -- dropout on skips --


def cell_of(names: tuple[str, ...], *, reduction: bool = False, nodes: int = 1) -> SupernetCell:
    torch.manual_seed(0)
    space = cell_space(names, Topology(nodes))
    return SupernetCell((4, 4), 4, space, halving=reduction, halved_before=False).train()


def drop(module: nn.Module, probability: float) -> None:
    """Set the probability as the supernet does for its cells."""
    holder = make(1, 1, cells=3)
    holder.cells = nn.ModuleList([module])
    holder.set_skip_dropout(probability)


def out_of(cell: SupernetCell, seed: int) -> Tensor:
    """Run a cell with all weights one and its random numbers from ``seed``."""
    draws = torch.Generator().manual_seed(0)
    before_last, last = (State(torch.randn(8, 4, 8, 8, generator=draws)) for _ in range(2))
    torch.manual_seed(seed)
    edges, count = len(cell.topology.edges), len(cell.get_submodule("edges.0")._modules)
    out: Tensor = cell((before_last, last), CellMixing(torch.ones(edges, count)))
    return out.detach()


def test_dropout_acts_after_an_identity() -> None:
    cell = cell_of(("skip_connect",))
    before = out_of(cell, 0)
    drop(cell, 0.5)
    assert not torch.equal(out_of(cell, 0), before)


def test_dropout_leaves_every_other_operation_as_it_is() -> None:
    cell = cell_of(tuple(name for name in CANDIDATES if name != "skip_connect"))
    before = out_of(cell, 0)
    drop(cell, 0.5)
    assert torch.equal(out_of(cell, 0), before)


def test_dropout_leaves_a_skip_that_halves_as_it_is() -> None:
    cell = cell_of(("skip_connect",), reduction=True)
    before = out_of(cell, 0)
    drop(cell, 0.5)
    assert torch.equal(out_of(cell, 0), before)


def test_dropout_acts_after_the_identities_inside_a_reduction_cell() -> None:
    cell = cell_of(("skip_connect",), reduction=True, nodes=2)
    before = out_of(cell, 0)
    drop(cell, 0.5)
    after = out_of(cell, 0)
    assert torch.equal(after[:, :4], before[:, :4])
    assert not torch.equal(after[:, 4:], before[:, 4:])


def test_dropout_acts_in_training_mode_only() -> None:
    cell = cell_of(("skip_connect",)).eval()
    before = out_of(cell, 0)
    drop(cell, 0.5)
    cell.eval()
    assert torch.equal(out_of(cell, 0), before)


def test_dropout_keeps_the_expectation() -> None:
    cell = cell_of(("skip_connect",))
    expected = out_of(cell, 0)
    drop(cell, 0.4)
    count = 600
    draws = torch.stack([out_of(cell, seed) for seed in range(count)])
    error = draws.std(dim=0) / count**0.5 + 1e-6
    assert float(((draws.mean(dim=0) - expected).abs() / error).max()) < 6


def test_dropout_masks_differ_from_edge_to_edge() -> None:
    cell = cell_of(("skip_connect",))
    drop(cell, 0.5)
    out = out_of(cell, 0)
    kept_by_none = float((out == 0).float().mean())
    assert kept_by_none == pytest.approx(0.25, abs=0.05)  # with one mask for both edges it were a half


def test_dropout_acts_on_single_elements() -> None:
    cell = cell_of(("skip_connect",))
    drop(cell, 0.5)
    dropped_B_C = (out_of(cell, 0) == 0).float().mean(dim=(2, 3))
    assert (dropped_B_C > 0).all()
    assert (dropped_B_C < 1).all()


def test_dropout_of_zero_leaves_outputs_and_random_numbers_as_they_were() -> None:
    cell = cell_of(("skip_connect", "sep_conv_3x3"))
    before, state = out_of(cell, 0), torch.get_rng_state()
    drop(cell, 0.5)
    drop(cell, 0.0)
    cell.train()
    assert torch.equal(out_of(cell, 0), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_supernet_says_which_dropout_it_has() -> None:
    supernet = make(2, 1, cells=3)
    assert supernet.skip_dropout == 0.0
    supernet.set_skip_dropout(0.3)
    assert supernet.skip_dropout == 0.3
    rates = [module.p for module in supernet.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.3] * (5 + 2 * 1)  # a normal cell with 5 identities, two reduction cells with one each
