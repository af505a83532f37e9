"""Parameters, multiply-adds and the papers' FLOPs are those that were measured with the released codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nascommon.cost.complexity import Complexity, count_operations, network_complexity
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from tests.oracles import rules
from tests.space.kinds import two

RETRAINED = ["DARTS_V2", "PC_DARTS_cifar", "PDARTS", "EC_DARTS_cifar"]
CIFAR = NetworkSpec(36, 20, 10)
IMAGENET = NetworkSpec(48, 14, 1000, "imagenet")
SKIP, POOL = "skip_connect", "max_pool_3x3"


@pytest.mark.parametrize("name", RETRAINED)
def test_the_papers_cifar_networks(name: str) -> None:
    expected = rules.facts()["retrain"][name]
    ours = network_complexity(PUBLISHED[name], CIFAR, 32, 32)
    assert ours.params == expected["cifar_C36_L20_params_noaux"]
    assert ours.params_with_auxiliary == expected["cifar_C36_L20_params_aux"]
    assert ours.params_with_auxiliary - ours.params == 476_426
    assert ours.mult_adds == expected["cifar_macs32"]


@pytest.mark.parametrize("name", RETRAINED)
def test_the_papers_imagenet_networks(name: str) -> None:
    expected = rules.facts()["retrain"][name]
    ours = network_complexity(PUBLISHED[name], IMAGENET, 224, 224)
    parts = expected["imagenet_macs224_breakdown"]
    assert ours.params == expected["imagenet_C48_L14_params_noaux"]
    assert ours.mult_adds == expected["imagenet_macs224"] == parts["conv"] + parts["lin"]
    assert ours.paper_flops - ours.mult_adds == 2 * parts["bn"] + parts["relu"]
    assert ours.paper_flops == expected["imagenet_papercount_conv_lin_2bn_relu"]


def test_the_flops_published_for_pc_darts_and_p_darts_are_met_to_the_million() -> None:
    published = {"PC_DARTS_cifar": 586, "PC_DARTS_image": 597, "PDARTS": 557}
    ours = {name: network_complexity(PUBLISHED[name], IMAGENET, 224, 224).paper_flops for name in published}
    assert {name: round(flops / 1e6) for name, flops in ours.items()} == published


@pytest.mark.parametrize(("second_norm", "head"), [(True, 1_262_312), (False, 1_260_776)])
def test_the_imagenet_auxiliary_head_with_and_without_its_second_norm(second_norm: bool, head: int) -> None:
    spec = replace(IMAGENET, auxiliary_second_norm=second_norm)
    ours = network_complexity(PUBLISHED["DARTS_V2"], spec, 224, 224)
    assert ours.params_with_auxiliary - ours.params == head


def test_the_network_of_46_channels_that_matches_the_parameters_published_for_ec_darts() -> None:
    expected = rules.facts()["retrain"]["EC_DARTS_cifar"]
    ours = network_complexity(PUBLISHED["EC_DARTS_cifar"], replace(IMAGENET, channels=46), 224, 224)
    assert ours.params == expected["imagenet_C46_L14_params_noaux"]
    assert ours.mult_adds == expected["imagenet_C46_macs224"]


@pytest.mark.parametrize(
    ("key", "name", "channels", "cells"),
    [
        ("retrain_DARTS_V2_C4_L5", "DARTS_V2", 4, 5),
        ("retrain_PDARTS_C8_L5", "PDARTS", 8, 5),
        ("retrain_EC_DARTS_cifar_C8_L8", "EC_DARTS_cifar", 8, 8),
    ],
)
def test_small_networks_with_and_without_auxiliary_head(key: str, name: str, channels: int, cells: int) -> None:
    ours = network_complexity(PUBLISHED[name], NetworkSpec(channels, cells), 32, 32)
    assert [ours.params, ours.params_with_auxiliary] == rules.facts()["small_nets"][key]


# -- what one edge costs at C = 36, L = 20 --


def cell(operation: str, first: str | None = None) -> CellGenotype:
    """Return four nodes on both inputs; ``first`` replaces the first operation."""
    nodes = [(Choice(operation, 0), Choice(operation, 1)) for _ in range(4)]
    if first:
        nodes[0] = (Choice(first, 0), nodes[0][1])
    return CellGenotype(tuple(nodes), (2, 3, 4, 5))


def params(normal: CellGenotype, reduction: CellGenotype) -> int:
    return network_complexity(two(Genotype, normal, reduction), CIFAR, 32, 32).params


def test_the_network_without_operations() -> None:
    assert params(cell(SKIP), cell(POOL)) == rules.facts()["increments_C36_L20"]["base_noops_C36_L20"]


def test_the_network_without_operations_and_with_one_dead_node() -> None:
    normal, reduction = (CellGenotype(((), *cell(op).nodes[1:]), (3, 4, 5)) for op in (SKIP, POOL))
    assert params(normal, reduction) == rules.facts()["increments_C36_L20"]["base_noops_C36_L20_concat3"]


@pytest.mark.parametrize("operation", ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"])
def test_the_parameters_that_one_edge_adds(operation: str) -> None:
    expected = rules.facts()["increments_C36_L20"]
    base = expected["base_noops_C36_L20"]
    assert params(cell(SKIP, operation), cell(POOL)) - base == expected[f"per_normal_edge_{operation}"]
    assert params(cell(SKIP), cell(POOL, operation)) - base == expected[f"per_reduce_edge_{operation}"]


def test_the_parameters_of_a_skip_from_an_input_of_a_reduction_cell() -> None:
    expected = rules.facts()["increments_C36_L20"]
    added = params(cell(SKIP), cell(POOL, SKIP)) - expected["base_noops_C36_L20"]
    assert added == expected["per_reduce_edge_skip_from_input"]


# -- the counting itself --


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (64, 32)])
def test_multiply_adds_are_half_of_what_torch_counts_as_flops(height: int, width: int) -> None:
    spec = NetworkSpec(4, 5, 10)
    ours = network_complexity(PUBLISHED["PDARTS"], spec, height, width)
    network = Network(PUBLISHED["PDARTS"], spec).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, height, width))
    assert counter.get_total_flops() == 2 * ours.mult_adds


def test_counts_of_a_network_small_enough_to_count_by_hand() -> None:
    layers = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5))
    mult_adds, extra = count_operations(layers.eval(), lambda: layers(torch.zeros(1, 4, 4, 4)))
    assert mult_adds == 6 * 2 * 2 * (2 * 3 * 3) + 24 * 5
    assert extra == 2 * 24 + 24


def test_counting_leaves_no_hook_behind_even_after_an_error() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError):
        count_operations(layer, lambda: layer(torch.zeros(1, 3)))
    assert count_operations(layer, lambda: layer(torch.zeros(1, 2))) == (4, 0)
    assert not layer._forward_hooks


def test_counts_are_named() -> None:
    assert Complexity(1, 2, 3, 4).as_dict() == {
        "params": 1, "params_with_auxiliary": 2, "mult_adds": 3, "paper_flops": 4,
    }  # fmt: skip


def test_counts_do_not_depend_on_the_precision() -> None:
    spec = NetworkSpec(4, 5)
    narrow = network_complexity(PUBLISHED["DARTS_V2"], replace(spec, precision="bfloat16"), 32, 32)
    assert narrow == network_complexity(PUBLISHED["DARTS_V2"], spec, 32, 32)


def test_without_an_auxiliary_head_both_parameter_counts_agree() -> None:
    ours = network_complexity(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5, auxiliary=False), 32, 32)
    assert ours.params == ours.params_with_auxiliary == 11_554
