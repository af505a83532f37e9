"""The supernet computes what the papers' formulas say, and its parts what a stand-alone network of them would."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from benchmarks.twin import Twin
from nascommon.cost.complexity import count_operations, count_parameters
from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Genotype
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing, one_hot
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.operations import CANDIDATES, search_operation
from nascommon.space.space import Candidates
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Edge, Topology
from tests.oracles import rules
from tests.space.gpu import as_on_a_gpu
from tests.space.kinds import space_of, two
from tests.space.plain import plainly
from tests.space.strategies import random_cell

C, CLASSES = 4, 5


def assert_same(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    """Compare to 1e-10, relative to the largest value where that is above one."""
    ours, theirs = ours.detach(), theirs.detach()
    scale = float(theirs.abs().max().clamp(min=1))
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-10, atol=1e-10, msg=lambda text: f"{name}: {text}")


def make(nodes: int = 4, cells: int = 4, candidates: Candidates | None = None, seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    topology = Topology(nodes)
    space = space_of(candidates or CANDIDATES, topology)
    return Supernet(SupernetSpec(C, cells, CLASSES, space)).double()


def images(seed: int = 0, batch: int = 3, side: int = 8) -> Tensor:
    return torch.randn(batch, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def soft(candidates: Candidates, seed: int = 0) -> Mixing:
    draws = torch.Generator().manual_seed(seed)
    shape = len(candidates["normal"]), len(candidates["normal"][0])
    cells = [torch.randn(shape, dtype=torch.float64, generator=draws).softmax(-1) for _ in DARTS_KINDS]
    return two(Mixing, *(CellMixing(weights.requires_grad_()) for weights in cells))


def some_candidates(rng: random.Random, topology: Topology, count: int) -> Candidates:
    """Draw ``count`` candidates for each edge, in the papers' order, edge by edge others."""

    def edges() -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(sorted(rng.sample(CANDIDATES, count), key=CANDIDATES.index)) for _ in range(len(topology.edges))
        )

    return two(Candidates, edges(), edges())


def random_genotype(rng: random.Random, candidates: Candidates, topology: Topology, keep: int = 2) -> Genotype:
    cells = []
    for kind in DARTS_KINDS:
        edges_from = [
            [(topology.edges[e].source, candidates[kind][e]) for e in incoming]
            for incoming in topology.incoming.values()
        ]
        cells.append(random_cell(rng, edges_from, keep))
    return two(Genotype, *cells)


# -- published counts and values --


def test_parameters_of_the_darts_supernet_are_the_published_in_total_and_by_part() -> None:
    expected = rules.facts()["supernets"]["darts_search_C16_L8"]
    supernet = Supernet(SupernetSpec(16, 8, 10, space_of(CANDIDATES, Topology())))
    assert count_parameters(supernet) == expected["params"] == 1_930_618
    assert [count_parameters(cell) for cell in supernet.cells] == expected["cells"]
    assert count_parameters(supernet.stem) == expected["stem"]
    assert count_parameters(supernet.classifier) == expected["classifier"]


@pytest.mark.parametrize(
    ("name", "cells"),
    [("darts_search_C16_L8", 8), ("pdarts_stage1_C16_L5_8ops", 5), ("pdarts_stage2_C16_L11_first_k", 11)],
)
def test_parameters_and_multiply_adds_of_the_papers_supernets(
    name: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly(monkeypatch)  # whose every convolution is a call that can be counted
    expected = rules.facts()["supernets"][name]
    operations = tuple(expected.get("keep", CANDIDATES))
    spec = SupernetSpec(16, cells, 10, space_of(operations, Topology()))
    supernet = Supernet(spec).eval()
    assert count_parameters(supernet) == expected.get("params", expected.get("params_no_alphas"))
    mixing = equal_mixing(spec.space)
    mult_adds, _ = count_operations(supernet, lambda: supernet(torch.zeros(1, 3, 32, 32), mixing))
    assert mult_adds == expected["macs32"]


@pytest.mark.parametrize(("name", "channels", "cells"), [("darts_C4_L3", 4, 3), ("darts_C8_L5", 8, 5)])
def test_parameters_of_small_supernets(name: str, channels: int, cells: int) -> None:
    supernet = Supernet(SupernetSpec(channels, cells, 10, space_of(CANDIDATES, Topology())))
    assert count_parameters(supernet) == rules.facts()["small_nets"][name]


def test_the_supernet_of_the_second_order_oracle_has_its_parameters() -> None:
    net = rules.facts()["second_order"]["net"]
    supernet = Supernet(SupernetSpec(net["C"], net["L"], 10, space_of(CANDIDATES, Topology())))
    assert count_parameters(supernet) == net["params"]


def test_logits_in_float64_are_those_of_the_released_code() -> None:
    expected = rules.facts()["forward_parity_float64"]["darts_search_C16_L8"]
    supernet = Supernet(SupernetSpec(16, 8, 10, space_of(CANDIDATES, Topology()))).train()
    rules.fill(supernet)
    with torch.no_grad():
        logits = supernet(rules.cosine_images(2, 3, 32, 32), rules.sinusoid_mixing(supernet.spec.space))
    torch.testing.assert_close(logits[0], torch.tensor(expected["logits_row0"]).double(), rtol=0, atol=1e-6)
    assert float(logits.abs().sum()) == pytest.approx(expected["abs_sum"], abs=1e-6)
    assert float(logits.sum()) == pytest.approx(expected["sum"], abs=1e-6)


# -- the plain twin --


@pytest.mark.parametrize(
    ("nodes", "cells", "operations"), [(2, 3, 8), (3, 4, 8), (4, 4, 8), (5, 3, 8), (4, 6, 3), (3, 5, 3)]
)
def test_outputs_and_all_gradients_equal_the_plain_twin(nodes: int, cells: int, operations: int) -> None:
    topology = Topology(nodes)
    candidates = some_candidates(random.Random(cells), topology, operations)
    supernet = make(nodes, cells, candidates).train()
    weights = dict(supernet.named_parameters())
    mixing = soft(candidates)
    weight = torch.randn(3, CLASSES, dtype=torch.float64)
    outputs = [supernet(images(), mixing), Twin(supernet.spec, weights, mixing).logits(images())]
    wanted = [*weights.values(), mixing["normal"].weights_EO, mixing["reduction"].weights_EO]
    ours, theirs = (torch.autograd.grad((out * weight).sum(), wanted, materialize_grads=True) for out in outputs)
    assert_same(outputs[0], outputs[1])
    for name, mine, other in zip([*weights, "normal", "reduction"], ours, theirs, strict=True):
        assert_same(mine, other, name)


def test_the_gradient_in_the_mixing_weights_equals_a_finite_difference() -> None:
    supernet = make().train()
    mixing = soft(supernet.spec.space.candidates)
    tensors = [mixing["normal"].weights_EO, mixing["reduction"].weights_EO]
    directions = [torch.randn_like(tensor) for tensor in tensors]

    def loss(step: float) -> Tensor:
        moved = [tensor + step * direction for tensor, direction in zip(tensors, directions, strict=True)]
        logits: Tensor = supernet(images(), two(Mixing, *map(CellMixing, moved)))
        return logits.square().sum()

    slopes = torch.autograd.grad(loss(0), tensors)
    exact = float(sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True)))
    with torch.no_grad():
        difference = float(loss(1e-6) - loss(-1e-6)) / 2e-6
    assert difference == pytest.approx(exact, rel=1e-6)
    assert abs(exact) > 1e-3


# -- one-hot weights and the stand-alone network --


def inherit(network: Network, supernet: Supernet) -> dict[str, nn.Parameter]:
    """Copy the supernet's weights into the network; return the network's parameters by their name in the supernet."""
    pairs: list[tuple[str, nn.Module, nn.Module]] = [
        ("stem", network.stem, supernet.stem),
        ("classifier", network.classifier, supernet.classifier),
    ]
    position = {edge: index for index, edge in enumerate(supernet.spec.space.cells.main.topology.edges)}
    for k in range(supernet.spec.cells):
        cell = network.get_submodule(f"cells.{k}")
        for part in ("preprocess0", "preprocess1"):
            name = f"cells.{k}.{part}"
            pairs.append((name, network.get_submodule(name), supernet.get_submodule(name)))
        genotype = cell.genotype
        assert isinstance(genotype, CellGenotype)
        for j, choices in enumerate(genotype.nodes):
            for i, (operation, source) in enumerate(choices):
                name = f"cells.{k}.edges.{position[Edge(source, j + 2)]}.{operation}"
                pairs.append((name, cell.get_submodule(f"nodes.{j}.{i}"), supernet.get_submodule(name)))
    copied: dict[str, nn.Parameter] = {}
    for name, mine, other in pairs:
        mine.load_state_dict(other.state_dict())
        copied |= {f"{name}.{tail}": parameter for tail, parameter in mine.named_parameters()}
    assert len(copied) == len(list(network.parameters()))
    return copied


def stand_alone(genotype: Genotype, cells: int) -> Network:
    spec = NetworkSpec(C, cells, CLASSES, auxiliary=False)
    return Network(genotype, spec, search_operation, affine=False).double()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("nodes", "operations"), [(2, 8), (3, 5), (4, 8), (4, 3), (5, 8)])
def test_a_one_hot_supernet_equals_the_stand_alone_network_with_copied_weights(
    nodes: int, operations: int, seed: int
) -> None:
    rng, topology, cells = random.Random(seed), Topology(nodes), 4
    candidates = some_candidates(rng, topology, operations)
    genotype = random_genotype(rng, candidates, topology, keep=rng.choice([1, 2, 3]))
    supernet, network = make(nodes, cells, candidates, seed).train(), stand_alone(genotype, cells).train()
    copied = inherit(network, supernet)
    weight = torch.randn(3, CLASSES, dtype=torch.float64)
    mixing = one_hot(genotype, space_of(candidates, topology), like=images())
    ours, theirs = supernet(images(seed), mixing), network(images(seed))
    assert_same(ours, theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    for name, parameter in supernet.named_parameters():
        expected = copied[name].grad if name in copied else None  # none also where no path leads to the parameter
        if expected is None:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert_same(parameter.grad, expected, name)
    assert_same(supernet.eval()(images(9), mixing), network.eval()(images(9)))


def test_a_dead_node_of_the_supernet_is_one_that_the_stand_alone_network_does_not_have() -> None:
    rng, cells, alive = random.Random(0), 5, (3, 4, 5)
    supernet = make(4, cells).train()
    candidates, topology = supernet.spec.space.candidates, supernet.spec.space.cells.main.topology
    full = random_genotype(rng, candidates, topology)
    dead = two(
        Genotype,
        *(
            CellGenotype(
                ((), *(tuple(choice for choice in node if choice.source != 2) for node in cell.nodes[1:])), alive
            )
            for cell in (full["normal"], full["reduction"])
        ),
    )
    network = stand_alone(dead, cells).train()
    by_name = dict(supernet.named_parameters())
    with torch.no_grad():
        for k in range(cells):
            for part, before in (("preprocess0", k - 2), ("preprocess1", k - 1)):
                for name, mine in network.get_submodule(f"cells.{k}.{part}").named_parameters():
                    other = by_name[f"cells.{k}.{part}.{name}"]
                    mine.copy_(other if before < 0 else other[:, other.shape[1] // 4 :])
            for j, choices in enumerate(dead["normal"].nodes if k not in (1, 3) else dead["reduction"].nodes):
                for i, (operation, source) in enumerate(choices):
                    edge = topology.edges.index(Edge(source, j + 2))
                    module = supernet.get_submodule(f"cells.{k}.edges.{edge}.{operation}")
                    network.get_submodule(f"cells.{k}.nodes.{j}.{i}").load_state_dict(module.state_dict())
        network.stem.load_state_dict(supernet.stem.state_dict())
        network.classifier.bias.copy_(supernet.classifier.bias)
        network.classifier.weight.copy_(supernet.classifier.weight[:, 4 * C :])
    mixing = one_hot(dead, space_of(candidates, topology), like=images())
    assert_same(supernet(images(), mixing), network(images()))


def test_a_dead_node_of_the_supernet_gives_zeros_where_the_stand_alone_network_concatenates_it() -> None:
    rng, cells = random.Random(1), 5
    supernet = make(4, cells).train()
    candidates, topology = supernet.spec.space.candidates, supernet.spec.space.cells.main.topology
    full = random_genotype(rng, candidates, topology)
    dead = two(
        Genotype,
        *(
            CellGenotype(
                (cell.nodes[0], (), *(tuple(c for c in node if c.source != 3) for node in cell.nodes[2:])), cell.concat
            )
            for cell in (full["normal"], full["reduction"])
        ),
    )
    network = stand_alone(dead, cells).train()
    inherit(network, supernet)
    mixing = one_hot(dead, space_of(candidates, topology), like=images())
    outputs: list[Tensor] = []
    for module in (supernet, network):
        for cell in (module.get_submodule("cells.0"), module.get_submodule("cells.1")):
            cell.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    assert_same(supernet(images(), mixing), network(images()))
    for ours, theirs, channels in zip(outputs[:2], outputs[2:], (C, 2 * C), strict=True):
        assert ours.shape == theirs.shape
        assert_same(ours, theirs)
        assert not ours[:, channels : 2 * channels].any()
        assert ours[:, :channels].any()


def test_computing_all_candidates_with_one_hot_weights_equals_computing_the_active_ones() -> None:
    rng = random.Random(1)
    supernet = make().train()
    candidates, topology = supernet.spec.space.candidates, supernet.spec.space.cells.main.topology
    supernet(images(1), soft(candidates))  # statistics other than 0 and 1
    supernet.eval()
    kept = one_hot(random_genotype(rng, candidates, topology), space_of(candidates, topology), like=images())
    everything = two(Mixing, CellMixing(kept["normal"].weights_EO), CellMixing(kept["reduction"].weights_EO))
    assert_same(supernet(images(), everything), supernet(images(), kept))


def test_an_inactive_candidate_leaves_its_batch_norm_untouched() -> None:
    rng = random.Random(2)
    supernet = make().train()
    candidates, topology = supernet.spec.space.candidates, supernet.spec.space.cells.main.topology
    genotype = random_genotype(rng, candidates, topology)
    supernet(images(), one_hot(genotype, space_of(candidates, topology), like=images()))
    for index, cell in enumerate(supernet.cells):
        edges = cell.get_submodule("edges")
        seen = [
            {name for name, op in edges.get_submodule(str(e)).named_children() if _steps(op)}
            for e in range(len(topology.edges))
        ]
        wanted = genotype["reduction" if index in (1, 2) else "normal"]
        kept = {
            (choice.operation, Edge(choice.source, j + 2)) for j, node in enumerate(wanted.nodes) for choice in node
        }
        assert any(seen)
        for names, edge in zip(seen, topology.edges, strict=True):
            assert all((name, edge) in kept for name in names)


def _steps(module: nn.Module) -> bool:
    return any(bool(b.any()) for name, b in module.named_buffers() if name.endswith("running_mean"))


# -- none --


def test_none_adds_nothing_and_gets_its_gradient_through_the_softmax_alone() -> None:
    supernet = make().train()
    mixing = soft(supernet.spec.space.candidates)
    tensors = [mixing["normal"].weights_EO, mixing["reduction"].weights_EO]
    slopes = torch.autograd.grad((supernet(images(), mixing) ** 2).sum(), tensors)
    position = CANDIDATES.index("none")
    for slope_EO in slopes:
        assert not slope_EO[:, position].any()
        assert (slope_EO[:, position + 1 :] != 0).all()
    alphas = [torch.randn(14, 8, dtype=torch.float64, requires_grad=True) for _ in DARTS_KINDS]
    out = supernet(images(), two(Mixing, *(CellMixing(alpha.softmax(-1)) for alpha in alphas)))
    for slope_EO in torch.autograd.grad((out**2).sum(), alphas):
        assert (slope_EO[:, position] != 0).all()


def test_changing_the_weight_of_none_alone_changes_nothing() -> None:
    supernet = make().train()
    mixing = soft(supernet.spec.space.candidates).detach()
    before = supernet(images(), mixing)
    for kind in DARTS_KINDS:
        mixing[kind].weights_EO[:, CANDIDATES.index("none")] = 7.0
    assert torch.equal(supernet(images(), mixing), before)


# -- shapes --


@pytest.mark.parametrize(("cells", "nodes", "image_channels"), [(1, 1, 1), (2, 4, 3), (3, 2, 1), (6, 3, 4)])
def test_any_depth_number_of_nodes_and_image_channels(cells: int, nodes: int, image_channels: int) -> None:
    spec = SupernetSpec(2, cells, 7, space_of(CANDIDATES, Topology(nodes)), image_channels)
    out = Supernet(spec)(torch.randn(2, image_channels, 12, 8), equal_mixing(spec.space))
    assert out.shape == (2, 7)


def test_a_reduction_cell_halves_the_map_and_doubles_the_channels() -> None:
    supernet, shapes = make(cells=8).train(), []
    for cell in supernet.cells:
        cell.register_forward_hook(lambda _module, _inputs, out: shapes.append(tuple(out.shape[1:])))
    supernet(images(side=16), soft(supernet.spec.space.candidates))
    narrow, middle, wide = (4 * C, 16, 16), (8 * C, 8, 8), (16 * C, 4, 4)
    assert shapes == [narrow] * 2 + [middle] * 3 + [wide] * 3


def test_norms_inside_cells_are_not_affine_but_that_of_the_stem_is() -> None:
    supernet = make()
    affine = [name for name, layer in supernet.named_modules() if isinstance(layer, nn.BatchNorm2d) and layer.affine]
    assert affine == ["stem.0.1"]


@pytest.mark.parametrize("gpu", [False, True], ids=["CPU", "as on a GPU"])
def test_affine_batch_norms_of_candidates_scale_and_shift_before_the_mixing_weight(
    *, gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gpu:
        as_on_a_gpu(monkeypatch)
    topology = Topology(2)
    supernet = Supernet(SupernetSpec(C, 3, CLASSES, space_of(CANDIDATES, topology), affine=True)).double()
    norms = [module for module in supernet.cells.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.affine for norm in norms)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (weight for norm in norms for weight in norm.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=draws))
    mixing = soft(supernet.spec.space.candidates)
    logits = [mixing[kind].weights_EO for kind in DARTS_KINDS]
    weights = [*supernet.parameters(), *logits]
    ours = supernet(images(), mixing)
    slopes = torch.autograd.grad(ours.square().sum(), weights, materialize_grads=True)
    monkeypatch.undo()
    plainly(monkeypatch)
    theirs = supernet(images(), mixing)
    assert_same(ours, theirs)
    plain = torch.autograd.grad(theirs.square().sum(), weights, materialize_grads=True)
    for mine, wanted in zip(slopes, plain, strict=True):
        assert_same(mine, wanted)
