"""What each paper claims of its method holds here, at small scale."""

from __future__ import annotations

import copy
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from nascommon.data.batch import Batch
from nascommon.gaps.discretization import hits, kept_mixing, weighted_mixing
from nascommon.method import REGISTRY, ArchOptimiser, Method, SearchSize, WeightOptimiser
from nascommon.methods.pcdarts import PcdartsSettings, pcdarts
from nascommon.methods.pdarts import PdartsSettings, pdarts
from nascommon.parts.relaxation import cross_edge_softmax
from nascommon.runtime.seeding import derive, generator
from nascommon.search.choose import inherited_accuracy
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import Epoch, SearchData, architecture_step, induced_pass, run_pass, soft_pass, weight_step
from nascommon.search.scores import recalibrate
from nascommon.search.state import InducedModel, SearchState, new_state
from nascommon.space import fan
from nascommon.space.genotype import DARTS_KINDS, Choice
from nascommon.space.mixing import CellMixing, Mixing, one_hot
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.operations import CANDIDATES, State, search_operation
from nascommon.space.space import SPACES, CellSpace
from nascommon.space.supernet import SupernetCell, SupernetSpec
from nascommon.space.topology import Topology
from tests.methods.smoke import FEW, SIZE, smoke_method, smoke_spec
from tests.search.small import (
    CPU,
    SOME,
    TinyBatches,
    batch,
    double_state,
    equal,
    frozen,
    tiny_data,
    wide_alpha,
)
from tests.space.kinds import space_of
from tests.space.test_supernet import inherit

SKIP = SOME.index("skip_connect")


def small_state(name: str, **changes: Any) -> SearchState:
    """Return a fresh state of a method in float64, with logits so different that every candidate matters."""
    method = smoke_method(name, **changes)
    return double_state(replace(method, initialise=wide_alpha))


def outputs(state: SearchState, mixing: Mixing) -> Tensor:
    """Return what the supernet says to some images, with the statistics of the batch and without a trace."""
    supernet = copy.deepcopy(state.supernet).train()
    with torch.no_grad():
        logits_BK: Tensor = supernet(batch(3).images, mixing)
    return logits_BK


# -- EC-DARTS: cross-edge normalisation --


def test_cen_keeps_the_weights_of_an_operation_at_one_in_sum_over_a_nodes_edges_in_every_forward_pass() -> None:
    seen: list[CellMixing] = []

    def recording(*arguments: Any) -> CellMixing:
        seen.append(cross_edge_softmax(*arguments))
        return seen[-1]

    method = replace(smoke_method("ecdarts"), relax=recording)
    assert smoke_method("ecdarts").relax is cross_edge_softmax
    state = run_search(method, smoke_spec(method), tiny_data(), seed=0, device=CPU).state
    assert len(seen) > 2 * 2 * 2 * 2  # cells, epochs, passes, batches
    for mixing in seen:
        for incoming in state.spec.space.cells.main.topology.incoming.values():
            sums_O = mixing.weights_EO[incoming.start : incoming.stop].sum(dim=0)
            torch.testing.assert_close(sums_O, torch.ones_like(sums_O))
    assert not torch.allclose(seen[-1].weights_EO, seen[1].weights_EO)  # the search moved them


def raise_skips(state: SearchState) -> None:
    with torch.no_grad():
        for kind in DARTS_KINDS:
            state.logits[kind].alpha_EO[:, SKIP] += 1.5


def test_under_cen_raising_every_skip_changes_nothing_that_the_supernet_computes() -> None:
    state = small_state("ecdarts")
    before = outputs(state, state.mixing())
    raise_skips(state)
    torch.testing.assert_close(outputs(state, state.mixing()), before, rtol=1e-10, atol=1e-10)


def test_under_darts_raising_every_skip_changes_what_the_supernet_computes() -> None:
    state = small_state("darts")
    before = outputs(state, state.mixing())
    raise_skips(state)
    assert float((outputs(state, state.mixing()) - before).abs().max()) > 0.01 * float(before.abs().max())


# -- EC-DARTS: induced structural transition --


def induced_calibration() -> list[Batch]:
    """Return the batches on which the first induced pass measures batch-norm statistics."""
    return list(tiny_data(torch.float64).weights.epoch(derive(0, "calibration")))


def induced_state() -> tuple[SearchState, dict[str, Tensor]]:
    """Return a state after its first induced pass, and the tensors of the supernet before it."""
    state = small_state("ecdarts")
    before = {name: tensor.clone() for name, tensor in state.supernet.state_dict().items()}
    induced_pass(state, tiny_data(torch.float64), Epoch(0, architecture_steps=True), lambda _done, _all: None)
    return state, before


def test_the_induced_model_is_the_network_that_will_be_retrained() -> None:
    state, _ = induced_state()
    assert state.induced is not None
    genotype, spec = state.induced.genotype, state.spec
    network = Network(
        genotype,
        NetworkSpec(spec.channels, spec.cells, spec.classes, auxiliary=False),
        search_operation,
        affine=False,
    ).double()
    inherit(network, state.supernet)
    kept = one_hot(genotype, spec.space, like=batch(0).images)
    for training in (False, True):
        state.supernet.train(training)
        network.train(training)
        ours, theirs = state.supernet(batch(0).images, kept), network(batch(0).images)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_the_induced_pass_trains_the_operations_of_its_genotype_and_no_other_candidate() -> None:
    state, before = induced_state()
    assert state.induced is not None
    changed = {name for name, weight in state.supernet.named_parameters() if not torch.equal(weight, before[name])}
    trained, possible = set(), set()
    for k, cell in enumerate(state.supernet.cells):
        assert isinstance(cell, SupernetCell)
        nodes = state.induced.genotype["reduction" if k in state.supernet.reductions else "normal"].nodes
        for index, (source, node) in enumerate(state.spec.space.cells.main.topology.edges):
            for name in state.spec.space.candidates["normal"][index]:
                prefix = f"cells.{k}.edges.{index}.{name}."
                tensors = {t for t, _ in state.supernet.named_parameters() if t.startswith(prefix)}
                if tensors and Choice(name, source) in nodes[node - 2]:
                    possible |= tensors
                trained |= tensors & changed
    assert trained == possible
    assert possible  # else the genotype had no operation with parameters


def test_the_supernet_that_takes_the_induced_weights_over_has_statistics_of_its_own_mixture() -> None:
    state, before = induced_state()
    twin = copy.deepcopy(state.supernet)
    assert not equal(state.supernet.state_dict(), before)
    recalibrate(twin, state.mixing(), induced_calibration())
    torch.testing.assert_close(dict(state.supernet.named_buffers()), dict(twin.named_buffers()))


def test_the_induced_model_is_compared_with_statistics_of_its_own() -> None:
    state, _ = induced_state()
    assert state.induced is not None
    data = tiny_data(torch.float64)
    expected = inherited_accuracy(state, state.induced.genotype, induced_calibration(), data.validation.epoch(0))
    assert state.induced.accuracy == expected


def test_a_worse_induced_model_leaves_nothing_behind_but_architecture_steps() -> None:
    state = small_state("ecdarts")
    state.induced = InducedModel(1.5, state.genotype(), epoch=7)
    before = frozen(state)
    induced_pass(state, tiny_data(torch.float64), Epoch(8, architecture_steps=False), lambda _done, _all: None)
    assert {name for name, value in before.items() if not equal(frozen(state)[name], value)} == set()
    metrics = induced_pass(state, tiny_data(torch.float64), Epoch(8, architecture_steps=True), lambda _done, _all: None)
    assert metrics["induced_taken"] == 0
    changed = {name for name, value in before.items() if not equal(frozen(state)[name], value)}
    assert changed == {"supernet", "logits", "arch_optimiser"}  # of the supernet the batch norms saw the steps


@pytest.mark.parametrize("warms_up", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_the_induced_pass_takes_architecture_steps_where_the_method_asks_and_never_in_the_warm_up(
    warms_up: bool, wanted: bool
) -> None:
    state = small_state("ecdarts", ist_arch_steps=wanted)
    before = frozen(state)["logits"]
    induced, epoch = state.method.passes[1], Epoch(0, architecture_steps=not warms_up)
    run_pass(induced, state, tiny_data(torch.float64), epoch, lambda _done, _all: None)
    assert equal(frozen(state)["logits"], before) is (warms_up or not wanted)


# -- DA2S: discretization costs little --


class Digits(TinyBatches):
    """Every other of the 8x8 digits of scikit-learn, with zero mean and unit variance."""

    def __init__(self, half: int, *, shuffled: bool = True) -> None:
        pixels, labels = load_digits(return_X_y=True)
        images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
        images = (images - images.mean()) / images.std()
        self.images, self.labels = images[half:1080:2], torch.tensor(labels)[half:1080:2]
        self.batch_size, self.seed, self.shuffled = 96, half, shuffled


DIGITS = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
NODES = 3


@cache
def cost_of_cutting(name: str, seed: int) -> tuple[float, float]:
    """Search on digits, every method with the same settings, and cut the supernet to its genotype.

    Returns the accuracy lost where the kept operations carry their learned weights, and where they have weight one and
    batch norm is measured anew.
    """
    entry, topology = REGISTRY[name], Topology(NODES)
    settings = {
        "epochs": 12,
        "batch_size": 96,
        "weights": WeightOptimiser(lr=0.05),
        "architecture": ArchOptimiser(lr=0.3, alpha_delay=2),
    }
    method = entry.recipe(entry.settings.model_validate(settings), SearchSize(4, 3, space_of(DIGITS, topology)))
    spec = SupernetSpec(4, 3, 10, space_of(DIGITS, topology), 1)
    data = SearchData(Digits(0), Digits(1), Digits(1, shuffled=False))
    state = run_search(method, spec, data, seed=seed, device=CPU).state
    valid, calibration = list(data.validation.epoch(0)), list(data.weights.epoch(0))
    genotype = state.genotype()
    kept, weighted = kept_mixing(state, genotype), weighted_mixing(state, genotype)
    soft = float(hits(state, state.scored(), valid).mean())
    assert soft > 0.8  # there is something to lose
    return (
        soft - float(hits(state, weighted, valid).mean()),
        soft - float(hits(state, kept, valid, calibration).mean()),
    )


def mean_cost_of_cutting(name: str) -> tuple[float, float]:
    """Return the same on average over seeds: of one seed, threads and rounding decide as much as the method does."""
    with_learned_weights, with_weight_one = zip(*(cost_of_cutting(name, seed) for seed in range(4)), strict=True)
    return statistics.mean(with_learned_weights), statistics.mean(with_weight_one)


@pytest.mark.slow
def test_cutting_costs_da2s_little_and_darts_most_of_its_accuracy_with_learned_weights() -> None:
    assert mean_cost_of_cutting("da2s")[0] < 0.15
    assert mean_cost_of_cutting("darts")[0] > 0.4


@pytest.mark.slow
def test_cutting_costs_da2s_much_less_than_darts_with_weight_one_and_recalibration() -> None:
    assert mean_cost_of_cutting("da2s")[1] < mean_cost_of_cutting("darts")[1] - 0.15


# -- P-DARTS: ever fewer candidates --


def progressive(survivors: tuple[int, int], candidates: tuple[str, ...], **changes: Any) -> Method:
    settings = PdartsSettings(epochs=1, warmup=0, cells=(3, 3, 3), survivors=survivors, batch_size=5, **changes)
    size = replace(SIZE, space=space_of(candidates, Topology(2)))
    return replace(pdarts(settings, size), initialise=wide_normal)


def wide_normal(space: CellSpace, draws: torch.Generator) -> Any:
    """Draw logits so different that no two candidates tie."""
    logits = wide_alpha(space, draws)
    return replace(logits, alpha_EO=logits.alpha_EO.float())


def search(method: Method, candidates: tuple[str, ...] = FEW, **hooks: Any) -> Outcome:
    spec = smoke_spec(method, space_of(candidates, Topology(2)))
    return run_search(method, spec, tiny_data(), seed=0, device=CPU, hooks=Hooks(**hooks))


@pytest.mark.parametrize(
    ("survivors", "candidates"), [((5, 3), CANDIDATES), ((4, 2), CANDIDATES[:3] + CANDIDATES[4:7])]
)
def test_pdarts_narrows_every_edge_as_configured_and_never_takes_a_candidate_back(
    survivors: tuple[int, int], candidates: tuple[str, ...]
) -> None:
    phases = search(progressive(survivors, candidates), candidates).history.candidates
    for kind in DARTS_KINDS:
        for edge in range(len(phases[0][kind])):
            first, second, third = (set(phase[kind][edge]) for phase in phases)
            assert (len(first), len(second), len(third)) == (len(candidates), *survivors)
            assert third < second < first == set(candidates)


def test_pdarts_starts_every_phase_with_fresh_weights_and_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh: list[dict[str, Tensor]] = []
    ends: list[dict[str, Tensor]] = []

    def tensors(state: SearchState) -> dict[str, Tensor]:
        network = {f"network.{name}": weight for name, weight in state.supernet.named_parameters()}
        return {name: tensor.detach().clone() for name, tensor in (network | state.logits.named()).items()}

    def recording(*arguments: Any, **more: Any) -> SearchState:
        state = new_state(*arguments, **more)
        fresh.append(tensors(state))
        return state

    monkeypatch.setattr("nascommon.search.loop.new_state", recording)
    search(
        progressive((5, 3), CANDIDATES),
        CANDIDATES,
        on_snapshot=lambda _row, state, **_last: ends.append(tensors(state)),
    )
    assert len(fresh) == len(ends) == 3
    for phase in (1, 2):
        for name, tensor in fresh[phase].items():
            if tensor.std() == 0:  # batch norm of the stem starts at one and zero
                continue
            for earlier in (*fresh[:phase], *ends[:phase]):
                assert name not in earlier or not torch.equal(earlier[name], tensor), name
        assert not fresh[phase]["network.stem.0.1.bias"].any()


@pytest.mark.parametrize("most", [0, 1, 2])
def test_pdarts_never_keeps_more_skips_than_allowed_however_strong_they_are(most: int) -> None:
    limited, free = (double_state(progressive((5, 3), SOME, most_skips=limit), nodes=2) for limit in (most, None))
    seen = []
    for seed in range(20):
        for state in (limited, free):
            with torch.no_grad():
                state.logits["normal"].alpha_EO.copy_(torch.randn(5, len(SOME), generator=generator(seed, "skips")))
                state.logits["normal"].alpha_EO[:, SKIP] += 2
        assert limited.genotype()["normal"].skips <= most
        seen.append(free.genotype()["normal"].skips)
    assert max(seen) > 2


# -- PC-DARTS: a part of the channels needs a part of the memory --


def saved_bytes(divisor: int, *, learns: bool) -> int:
    """Count the bytes of the tensors that a forward pass keeps for the backward pass, weights left out."""
    torch.manual_seed(0)
    method = pcdarts(PcdartsSettings(channel_divisor=divisor), SearchSize(16, 3, SPACES["darts"]))
    topology = Topology(4)
    spec = SupernetSpec(16, 3, 10, space_of(CANDIDATES, topology), channel_divisor=divisor)
    state = new_state(method, spec, seed=0, phase=0, device=CPU)
    mixing = state.mixing() if learns else state.mixing().detach()
    weights = {parameter.data_ptr() for parameter in state.supernet.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = state.supernet(torch.randn(4, 3, 16, 16), mixing)
    assert out.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("learns", [False, True])
def test_with_a_quarter_of_the_channels_pcdarts_keeps_less_than_half_of_the_activations(learns: bool) -> None:
    whole, half, quarter = (saved_bytes(divisor, learns=learns) for divisor in (1, 2, 4))
    assert quarter < half < whole
    assert quarter < whole / 2


# -- DARTS-: the auxiliary skip fades --


def test_at_its_end_dartsminus_computes_what_darts_computes() -> None:
    minus, darts = small_state("dartsminus"), small_state("darts")
    for progress, same in ((0.0, False), (0.5, False), (1.0, True)):
        minus.progress = darts.progress = progress
        for use in ("weights", "architecture", "evaluation"):
            assert torch.equal(outputs(minus, minus.draw(use)), outputs(darts, darts.draw(use))) is same


# -- SDARTS: only the weights see noise --


def test_sdarts_takes_architecture_steps_under_clean_weights_and_weight_steps_under_noise() -> None:
    state = small_state("sdarts")
    state.progress = 1.0
    used: list[Mixing] = []
    state.supernet.register_forward_pre_hook(lambda _module, inputs: used.append(inputs[1]))
    for step, clean in ((lambda: architecture_step(state, batch(0), batch(1)), True),
                        (lambda: weight_step(state, batch(0)), False)):  # fmt: skip
        expected = state.mixing().detach()
        used.clear()
        step()
        assert len(used) == 1
        for kind in DARTS_KINDS:
            assert torch.equal(used[0][kind].weights_EO, expected[kind].weights_EO) is clean


# -- GDAS: one operation per edge --


def calls_per_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Run one pass; return how many operations an edge computed in a forward pass of the supernet."""
    real = tuple(operation for operation in SOME if operation != "none")
    method = smoke_method(name)
    state = new_state(method, smoke_spec(method, space_of(real, Topology(2))), seed=0, phase=0, device=CPU)
    edges = [list(edge.children()) for cell in state.supernet.cells for edge in cell.get_submodule("edges").children()]
    calls: Counter[nn.Module] = Counter()
    counts: set[int] = set()
    candidate = fan.candidate

    def counting(state: State, modules: Sequence[nn.Module], scale_D: Tensor) -> Tensor:
        calls.update(modules)
        return candidate(state, modules, scale_D)

    def ended(*_arguments: Any) -> None:
        counts.update(sum(calls[operation] for operation in edge) for edge in edges)
        calls.clear()

    monkeypatch.setattr(fan, "candidate", counting)
    state.supernet.register_forward_hook(ended)
    soft_pass(state, tiny_data(), Epoch(0, architecture_steps=True), lambda _done, _all: None)
    return counts


def test_gdas_executes_one_operation_per_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls_per_edge("gdas", monkeypatch) == {1}


def test_darts_executes_every_operation_of_every_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls_per_edge("darts", monkeypatch) == {4}
