"""The stand-alone network is the papers': its values, stems, auxiliary heads and drop-path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.cost.complexity import count_parameters
from nascommon.settings import UserError
from nascommon.space import network as module
from nascommon.space.dropping import drop_path, kept_paths
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.network import (
    AuxiliaryHead,
    Network,
    NetworkCell,
    NetworkSpec,
    check_image_size,
)
from nascommon.space.operations import State
from nascommon.space.published import PUBLISHED
from nascommon.space.stem import Stem
from tests.oracles import rules
from tests.space.gpu import as_on_a_gpu
from tests.space.kinds import two


def cell_of(operation: str, nodes: int = 2) -> CellGenotype:
    """Return a cell with the same operation on every kept edge."""
    choices = tuple((Choice(operation, node), Choice(operation, node + 1)) for node in range(nodes))
    return CellGenotype(choices, tuple(range(2, 2 + nodes)))


SKIPS = two(Genotype, cell_of("skip_connect"), cell_of("skip_connect"))


def outputs_of(network: nn.Module, name: str) -> list[Tensor]:
    """Collect what the submodule returns from now on."""
    seen: list[Tensor] = []
    network.get_submodule(name).register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    return seen


@pytest.mark.parametrize("name", ["DARTS_V2", "PDARTS"])
def test_logits_in_float64_are_those_of_the_released_code(name: str) -> None:
    expected = rules.facts()["forward_parity_float64"][f"retrain_{name}_C8_L8_main"]
    network = Network(PUBLISHED[name], NetworkSpec(8, 8)).train()
    rules.fill(network)
    with torch.no_grad():
        logits = network(rules.cosine_images(2, 3, 32, 32))
    torch.testing.assert_close(logits[0], torch.tensor(expected["logits_row0"]).double(), rtol=0, atol=1e-6)
    assert float(logits.abs().sum()) == pytest.approx(expected["abs_sum"], abs=1e-6)


# -- drop-path --


def test_drop_path_zeroes_whole_samples_and_scales_up_the_others() -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 3, 2, 2, dtype=torch.float64) + 1
    ratio = (drop_path(x, 0.4) / x).flatten(1)
    assert torch.equal(ratio, ratio[:, :1].expand_as(ratio)) or torch.allclose(ratio, ratio[:, :1].expand_as(ratio))
    values = {round(value, 9) for value in ratio[:, 0].tolist()}
    assert values == {0.0, round(1 / 0.6, 9)}


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_drop_path_keeps_the_expectation(probability: float) -> None:
    torch.manual_seed(1)
    count = 100_000
    mean = float(drop_path(torch.ones(count, 1, 1, 1, dtype=torch.float64), probability).mean())
    deviation = (probability / (1 - probability) / count) ** 0.5
    assert abs(mean - 1) < 4 * deviation


def test_drop_path_spares_a_true_identity_and_hits_pools_and_reduced_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def counting(x: Tensor, probability: float) -> Tensor:
        calls.append(probability)
        return x

    monkeypatch.setattr(module, "drop_path", counting)
    genotype = two(
        Genotype,
        CellGenotype(((Choice("skip_connect", 0), Choice("max_pool_3x3", 1)), (Choice("sep_conv_3x3", 2),)), (2, 3)),
        CellGenotype(((Choice("skip_connect", 0),), (Choice("skip_connect", 1), Choice("skip_connect", 2))), (2, 3)),
    )
    network = Network(genotype, NetworkSpec(4, 3, auxiliary=False)).train()  # one normal and two reduction cells
    network.drop_probability = 0.3
    network(torch.randn(2, 3, 8, 8))
    assert calls == [0.3] * (2 + 2 * 2)  # the pool and the convolution; the skips that start at an input


def test_drop_path_draws_every_edge_for_itself_and_changes_the_output() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 3, auxiliary=False)).train()
    images = torch.randn(4, 3, 8, 8)
    plain = network(images)
    network.drop_probability = 0.5
    torch.manual_seed(0)
    first, second = network(images), network(images)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)


def test_factors_drawn_at_once_are_those_of_drop_path() -> None:
    torch.manual_seed(0)
    factors = torch.stack([*kept_paths(torch.ones(3000, 2, 1, 1, dtype=torch.float64), 0.2, 4)]).flatten(1)
    assert factors.shape == (4, 3000)
    assert set(factors.flatten().tolist()) == {0, 1.25}
    assert factors.mean(1).tolist() == pytest.approx([1] * 4, abs=0.05)
    assert len({tuple(path) for path in factors.tolist()}) == 4


def test_a_gpu_drops_the_same_paths_with_factors_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 4, auxiliary=False)).double().train()
    network.drop_probability = 0.5
    images, drawn = torch.randn(3, 3, 8, 8, dtype=torch.float64), list[torch.Tensor]()

    def drawing(x_BCHW: torch.Tensor, probability: float) -> torch.Tensor:
        drawn.append(drop_path(torch.ones(len(x_BCHW), 1, 1, 1, dtype=x_BCHW.dtype), probability))
        return x_BCHW * drawn[-1]

    monkeypatch.setattr(module, "drop_path", drawing)
    one_by_one = network(images)
    given = iter(drawn)
    monkeypatch.setattr(module, "draws_at_once", lambda _: True)
    monkeypatch.setattr(module, "kept_paths", lambda *_: given)
    torch.testing.assert_close(network(images), one_by_one)
    assert next(given, None) is None


def test_drop_path_is_off_in_evaluation() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 3)).eval()
    images = torch.randn(4, 3, 8, 8)
    plain = network(images)
    network.drop_probability = 0.9
    assert torch.equal(network(images), plain)


def test_skips_of_normal_cells_never_drop_even_at_high_probability() -> None:
    cell = Network(SKIPS, NetworkSpec(4, 3, auxiliary=False)).cells[0].train()
    states = State(torch.randn(4, 12, 8, 8)), State(torch.randn(4, 12, 8, 8))
    assert torch.equal(cell(states, lambda out: drop_path(out, 0.99)), cell(states, lambda out: out))


# -- auxiliary head --


@pytest.mark.parametrize("cells", [3, 5, 14, 20])
def test_the_auxiliary_head_reads_the_cell_at_two_thirds(cells: int) -> None:
    network = Network(SKIPS, NetworkSpec(2, cells)).train()
    seen: list[Tensor] = []
    assert network.auxiliary is not None
    network.auxiliary.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    source = outputs_of(network, f"cells.{2 * cells // 3}")
    network(torch.randn(2, 3, 32, 32))
    assert len(seen) == 1
    assert torch.equal(seen[0], source[0].relu())
    assert seen[0].shape[2:] == (8, 8)


def test_the_auxiliary_head_runs_in_training_only_and_only_where_wanted() -> None:
    images = torch.randn(2, 3, 32, 32)
    network = Network(SKIPS, NetworkSpec(2, 3, 7))
    logits, auxiliary = network.train().forward_auxiliary(images)
    assert auxiliary is not None
    assert logits.shape == auxiliary.shape == (2, 7)
    assert network.eval().forward_auxiliary(images)[1] is None
    without = Network(SKIPS, NetworkSpec(2, 3, 7, auxiliary=False)).train()
    assert without.auxiliary is None
    assert without.forward_auxiliary(images)[1] is None


@pytest.mark.parametrize(("stem", "side", "stride"), [("cifar", 8, 3), ("imagenet", 7, 2)])
def test_the_published_map_is_pooled_as_published(stem: Stem, side: int, stride: int) -> None:
    head, x = AuxiliaryHead(4, 10, stem, second_norm=True), torch.randn(3, 4, side, side)
    seen: list[Tensor] = []
    head.features.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    assert head(x).shape == (3, 10)
    torch.testing.assert_close(seen[0], functional.avg_pool2d(x, 5, stride, count_include_pad=False))


@pytest.mark.parametrize("side", [2, 3, 4, 7, 16])
def test_any_other_map_is_pooled_adaptively_to_two_by_two(side: int) -> None:
    head, x = AuxiliaryHead(4, 10, "cifar", second_norm=False), torch.randn(3, 4, side, side)
    seen: list[Tensor] = []
    head.features.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    head(x)
    torch.testing.assert_close(seen[0], functional.adaptive_avg_pool2d(x, 2))


def test_auxiliary_heads_have_the_published_number_of_parameters() -> None:
    assert count_parameters(AuxiliaryHead(576, 10, "cifar", second_norm=True)) == 476_426
    assert count_parameters(AuxiliaryHead(768, 1000, "imagenet", second_norm=True)) == 1_262_312
    assert count_parameters(AuxiliaryHead(768, 1000, "imagenet", second_norm=False)) == 1_260_776


def test_the_auxiliary_loss_reaches_the_cells_below_and_not_those_above() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(2, 5)).train()
    _, auxiliary = network.forward_auxiliary(torch.randn(2, 3, 32, 32))
    assert auxiliary is not None
    auxiliary.square().sum().backward()  # type: ignore[no-untyped-call]
    reached = [any(parameter.grad is not None for parameter in cell.parameters()) for cell in network.cells]
    assert reached == [True, True, True, True, False]


# -- stems and sizes --


def test_the_imagenet_stem_halves_three_times_and_the_whole_network_five_times() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5, 11, "imagenet"))
    first, second, last = (outputs_of(network, name) for name in ("stem.0", "stem.1", "cells.4"))
    assert network(torch.randn(2, 3, 64, 96)).shape == (2, 11)
    assert first[0].shape == (2, 4, 16, 24)
    assert second[0].shape == (2, 4, 8, 12)
    assert last[0].shape == (2, 4 * 16, 2, 3)


def test_the_cifar_stem_keeps_the_size_and_feeds_both_inputs() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5))
    stem, last = outputs_of(network, "stem.0"), outputs_of(network, "cells.4")
    network(torch.randn(2, 3, 16, 16))
    assert stem[0].shape == (2, 12, 16, 16)
    assert last[0].shape == (2, 4 * 16, 4, 4)


@pytest.mark.parametrize(("stem", "good", "bad"), [("cifar", 28, 30), ("imagenet", 224, 48)])
def test_images_that_cannot_be_halved_often_enough_are_refused_by_key(stem: Stem, good: int, bad: int) -> None:
    check_image_size(good, good, stem, "data.size")
    for height, width in ((bad, good), (good, bad)):
        with pytest.raises(UserError, match=rf"data\.size: images of {height} x {width}.*multiple of"):
            check_image_size(height, width, stem, "data.size")


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("cells", "channels", "classes", "image_channels"), [(1, 2, 2, 1), (4, 6, 100, 3), (6, 3, 10, 4)]
)
def test_any_number_of_nodes_cells_channels_and_classes(
    nodes: int, cells: int, channels: int, classes: int, image_channels: int
) -> None:
    genotype = two(Genotype, cell_of("sep_conv_3x3", nodes), cell_of("max_pool_3x3", nodes))
    spec = NetworkSpec(channels, cells, classes, image_channels=image_channels)
    network = Network(genotype, spec).train()
    out, auxiliary = network.forward_auxiliary(torch.randn(2, image_channels, 16, 16))
    assert auxiliary is not None
    assert out.shape == auxiliary.shape == (2, classes)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_runs_and_learns(name: str, stem: Stem) -> None:
    network = Network(PUBLISHED[name], NetworkSpec(4, 5, stem=stem)).train()
    logits, auxiliary = network.forward_auxiliary(torch.randn(2, 3, 32, 32))
    assert auxiliary is not None
    functional.cross_entropy(logits + auxiliary, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    used = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    concat = [PUBLISHED[name]["normal"], PUBLISHED[name]["reduction"]]
    unread = any(set(range(2, 2 + len(cell.nodes))) - set(cell.concat) for cell in concat)
    assert unread or used == {name for name, _ in network.named_parameters()}


def test_nodes_with_other_than_two_inputs_and_dead_nodes_are_built() -> None:
    sep, skip = "sep_conv_3x3", "skip_connect"
    cell = CellGenotype(((), (Choice(sep, 0), Choice(skip, 1), Choice(skip, 0)), (Choice(sep, 3),)), (3, 4))
    network = Network(two(Genotype, cell, cell), NetworkSpec(4, 3, auxiliary=False))
    out = outputs_of(network, "cells.0")
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    assert out[0].shape == (2, 2 * 4, 8, 8)


def test_a_dead_node_that_is_concatenated_gives_zeros_of_the_size_of_the_others() -> None:
    sep = "sep_conv_3x3"
    cell = CellGenotype(((Choice(sep, 0),), (), (Choice(sep, 1),)), (2, 3, 4))
    network = Network(
        two(Genotype, cell, cell), NetworkSpec(4, 3, auxiliary=False)
    )  # one normal and two reduction cells
    cells = [outputs_of(network, f"cells.{index}") for index in range(3)]
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    for (out,), width, side in zip(cells, (4, 8, 16), (8, 4, 2), strict=True):
        assert out.shape == (2, 3 * width, side, side)
        assert not out[:, width : 2 * width].any()
        assert all(out[:, start : start + width].any() for start in (0, 2 * width))


def test_every_norm_of_a_retrain_network_is_affine() -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 5))
    assert all(layer.affine for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))


# -- operations computed together --


@pytest.mark.parametrize("name", ["DARTS_V2", "PDARTS", "DARTS_V1"])
@pytest.mark.parametrize("way", ["cpu", "gpu"])
def test_the_same_operation_on_the_same_state_is_computed_together_and_equals_one_by_one(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "gpu":
        as_on_a_gpu(monkeypatch)
        monkeypatch.setattr(module, "runs_abreast", lambda _: False)  # tests/space/test_waves.py
    together, one_by_one = (network_of_cells(name, alike) for alike in (True, False))
    assert any(len(alike) > 1 for cell in cells_of(together) for alike in cell.alike.values())
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    weight = torch.randn(3, 10, dtype=torch.float64)
    for network in (together, one_by_one):
        (network(images) * weight).sum().backward()
    found = [
        {
            **{key: parameter.grad for key, parameter in network.named_parameters()},
            **{key: buffer for key, buffer in network.named_buffers() if "num_batches" not in key},
        }
        for network in (together, one_by_one)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(together.eval()(images), one_by_one.eval()(images), rtol=1e-8, atol=1e-10)


def network_of_cells(name: str, alike: bool) -> Network:
    torch.manual_seed(0)
    network = Network(PUBLISHED[name], NetworkSpec(4, 4, auxiliary=False)).double().train()
    for cell in cells_of(network):
        if not alike:
            cell.alike = {}
    return network


def cells_of(network: Network) -> list[NetworkCell]:
    return [cell for cell in network.cells if isinstance(cell, NetworkCell)]
