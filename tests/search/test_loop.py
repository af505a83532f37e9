"""The loop runs phases and passes, and gives the same search for the same seed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nascommon.method import ArchGradient, ArchOptimiser, Phase, SearchSize, WeightOptimiser
from nascommon.methods.random import RandomSettings, random
from nascommon.parts.choices import Discretize, Sample, Use
from nascommon.parts.control import Progress
from nascommon.parts.discretizer import strongest_candidates, strongest_edges
from nascommon.parts.logits import CellLogits, normal_alpha, with_normal_beta
from nascommon.parts.relaxation import softmax_over_operations, with_edge_softmax
from nascommon.parts.schedule import cosine
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.divergence import DivergenceError
from nascommon.search import loop
from nascommon.search.loop import Hooks, run_search
from nascommon.search.passes import SearchData
from nascommon.search.state import SearchState
from nascommon.space.genotype import DARTS_KINDS, Genotype, genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.space import CellSpace
from nascommon.space.topology import Topology
from tests.search.small import CPU, SOME, NoNumbersFrom, TinyBatches, adam, equal, tiny_method, tiny_spec
from tests.search.whole import DATA, ONE_PHASE, RANDOM, TWO_PHASES, Watched, killer, record, resumed, search
from tests.space.kinds import space_of, two

# -- divergence --


def test_a_search_whose_loss_is_no_number_stops_and_the_last_good_epoch_stays(tmp_path: Path) -> None:
    checkpoint, told = Checkpoint(tmp_path / "state.ckpt", "f"), []
    data = replace(DATA, weights=NoNumbersFrom(1, seed=1))
    hooks = Hooks(on_epoch=lambda row: told.append(row["epoch"]))
    for _ in range(2):  # taken up again, it neither begins anew nor goes on with broken weights
        with pytest.raises(DivergenceError, match="train_loss is nan after epoch 2"):
            run_search(ONE_PHASE, tiny_spec(), data, seed=0, device=CPU, checkpoint=checkpoint, hooks=hooks)
    assert told == [0]
    saved = checkpoint.load()
    assert saved is not None
    assert all(bool(weight.isfinite().all()) for weight in saved["state"]["supernet"].values())


def test_logits_that_are_no_numbers_show_in_the_validation_loss_of_the_same_epoch() -> None:
    method = replace(ONE_PHASE, arch_gradient=ArchGradient(optimiser=ArchOptimiser().model_copy(update={"lr": 1e38})))
    with pytest.raises(DivergenceError, match=r"(valid|train)_loss is nan"):
        search(method)


# -- phases --


def test_each_phase_has_a_fresh_supernet_of_its_own_size(two_phases: Watched) -> None:
    sizes = [(state.spec.channels, state.spec.cells) for state in two_phases.states]
    assert sizes == [(2, 3), (2, 3), (4, 4), (4, 4)]
    assert [row["phase"] for row in two_phases.outcome.history.rows] == [0, 0, 1, 1]
    assert [row["epoch"] for row in two_phases.outcome.history.rows] == [0, 1, 2, 3]


def test_the_candidates_shrink_to_those_that_weigh_most_at_the_end_of_the_phase(two_phases: Watched) -> None:
    first, second = two_phases.outcome.history.candidates
    end_of_first = two_phases.states[1]
    assert first == tiny_spec().space.candidates
    assert second == strongest_candidates(end_of_first.mixing(), tiny_spec().space, 3).candidates
    assert second == two_phases.outcome.state.spec.space.candidates
    assert {len(names) for kind in DARTS_KINDS for names in second[kind]} == {3}


def test_learning_rate_progress_and_warm_up_start_anew_in_each_phase(two_phases: Watched) -> None:
    rates = [row["learning_rate"] for row in two_phases.outcome.history.rows]
    one = [cosine(0.1, 0.01)(epoch, 2) for epoch in range(2)]
    assert rates == pytest.approx(one * 2)
    assert [state.weight_optimiser.param_groups[0]["lr"] for state in two_phases.states] == rates
    assert [state.progress for state in two_phases.states] == [0, 1, 0, 1]
    steps = [len(adam(state).state) for state in two_phases.states]
    assert steps == [0, 2, 2, 2]  # the warm-up epoch of the first phase takes no architecture step


def test_keep_none_goes_on_with_all_candidates() -> None:
    outcome = search(tiny_method(phases=(Phase(1, 2, 3), Phase(1, 2, 3)), initialise=normal_alpha(1.0)))
    assert outcome.history.candidates == [tiny_spec().space.candidates] * 2


def test_a_method_without_architecture_gradient_learns_no_logits() -> None:
    outcome = search(RANDOM)
    assert not any(tensor.any() for tensor in outcome.state.logits.tensors())
    assert outcome.state.arch_optimiser is None
    assert outcome.state.weight_optimiser.state_dict()["state"] != {}


def test_a_search_of_no_epochs_ends_where_it_begins() -> None:
    outcome = search(random(RandomSettings(epochs=0, samples=1), SearchSize(2, 3, space_of(SOME, Topology(2)))))
    assert outcome.history.rows == []
    assert outcome.state.spec.channels == 2


def test_rates_dropout_and_waiting_alphas_follow_the_epoch_of_their_phase() -> None:
    seen: list[tuple[float, float, dict[str, float]]] = []

    def on_snapshot(_row: dict[str, Any], state: SearchState, **_last: bool) -> None:
        dropouts = {m.p for m in state.supernet.modules() if isinstance(m, nn.Dropout)}
        assert dropouts == {state.supernet.skip_dropout}
        rates = {group["name"]: group["lr"] for group in adam(state).param_groups}
        seen.append((state.weight_optimiser.param_groups[0]["lr"], state.supernet.skip_dropout, rates))

    phases = (Phase(3, 2, 3, warmup=1, skip_dropout=0.4), Phase(3, 2, 3))
    weights, arch = WeightOptimiser(lr=0.1, lr_min=0.01, warmup_epochs=2), ArchOptimiser(lr=0.02, alpha_delay=2)
    both = with_normal_beta(normal_alpha(1.0), 1.0)
    method = tiny_method(phases=phases, weights=weights, arch_gradient=ArchGradient(optimiser=arch), initialise=both,
                         relax=with_edge_softmax(softmax_over_operations))  # fmt: skip
    outcome = search(method, on_snapshot=on_snapshot)
    assert [lr for lr, _, _ in seen] == pytest.approx([0.05, 0.1, cosine(0.1, 0.01)(2, 3)] * 2)
    falling = [0.4 * 2 / 3, 0.4, 0.4 * math.exp(-1.5)]
    assert [p for _, p, _ in seen] == pytest.approx([*falling, 0, 0, 0])
    waiting = {"normal.alpha_EO": 0, "normal.beta_E": 0.02, "reduction.alpha_EO": 0, "reduction.beta_E": 0.02}
    ready = dict.fromkeys(waiting, 0.02)
    assert [rates for _, _, rates in seen] == [waiting, waiting, ready] * 2
    logits = outcome.history.architecture
    for kind in DARTS_KINDS:  # alpha rests while its moments gather, beta moves from the end of the warm-up
        alpha, beta = ([epoch[f"{kind}.{name}"] for epoch in logits[:3]] for name in ("alpha_EO", "beta_E"))
        assert torch.equal(alpha[0], alpha[1])
        assert not torch.equal(alpha[1], alpha[2])
        assert not torch.equal(beta[0], beta[1])
    assert adam(outcome.state).state_dict()["state"][0]["step"] == 3 * len(DATA.weights)


def test_a_phase_ends_early_where_the_method_says_so_and_the_next_begins(tmp_path: Path) -> None:
    method = replace(TWO_PHASES, stop=lambda _genotype: True)
    path = tmp_path / "search.ckpt"
    outcome = search(method, checkpoint=Checkpoint(path, "mine"))
    assert [(row["epoch"], row["phase"]) for row in outcome.history.rows] == [(0, 0), (2, 1)]
    again = search(method, checkpoint=Checkpoint(path, "mine"), on_batch=killer(1))
    assert equal(record(again), record(outcome))
    resumed_outcome, done = resumed(method, tmp_path / "other.ckpt", "on_epoch", 1)
    assert done == [1]
    assert equal(record(resumed_outcome), record(outcome))


# -- seeds and hooks --


def test_the_seed_decides_all_and_whatever_was_drawn_before_nothing() -> None:
    torch.manual_seed(1)
    one = record(search(ONE_PHASE, seed=7))
    torch.manual_seed(2)
    assert equal(one, record(search(ONE_PHASE, seed=7)))
    other = record(search(ONE_PHASE, seed=8))
    assert not equal(one["state"]["supernet"], other["state"]["supernet"])
    assert not equal(one["architecture"], other["architecture"])


def test_hooks_are_told_batches_snapshots_and_epochs_in_order(tmp_path: Path) -> None:
    told: list[object] = []
    checkpoint = Checkpoint(tmp_path / "a", "x")

    def on_snapshot(row: dict[str, Any], state: SearchState, **_last: bool) -> None:
        saved = checkpoint.load()
        told.append(("snapshot", row["epoch"], state.spec.cells, saved["epoch"] if saved else 0))

    def on_epoch(row: dict[str, Any]) -> None:
        saved = checkpoint.load()
        assert saved is not None
        told.append(("epoch", row["epoch"], saved["epoch"]))

    search(ONE_PHASE, checkpoint=checkpoint, on_batch=lambda *done: told.append(done), on_snapshot=on_snapshot,
           on_epoch=on_epoch)  # fmt: skip
    expected: list[object] = []
    for epoch in range(2):
        expected += [(1, 2), (2, 2), ("snapshot", epoch, 3, epoch), ("epoch", epoch, epoch + 1)]
    assert told == expected


def test_a_sampling_method_draws_a_new_path_for_every_step() -> None:
    drawn: list[CellMixing] = []

    def sample(logits: CellLogits, mixing: CellMixing, space: CellSpace, progress: Progress) -> CellMixing:
        assert RANDOM.sample is not None
        drawn.append(RANDOM.sample.draw(logits, mixing, space, progress))
        return drawn[-1]

    method = tiny_method(
        phases=(Phase(1, 2, 3),), arch_gradient=None, sample=Sample(sample), initialise=normal_alpha(0.0)
    )
    search(method)
    assert len(drawn) == 2 * len(DATA.weights)  # a normal and a reduction cell each
    assert len({cell.active for cell in drawn}) > 1
    for cell in drawn:
        assert cell.active is not None
        assert [len(kept) for kept in cell.active[:2]] == [1, 1]  # node 2 keeps its two edges
        assert sum(map(len, cell.active)) == 4
        assert float(cell.weights_EO.sum()) == 4
        assert not cell.weights_EO[:, SOME.index("none")].any()


@pytest.mark.parametrize("uses", [set(), {"weights"}, {"architecture"}, {"evaluation"}, {"weights", "evaluation"}])
def test_a_method_draws_only_in_the_uses_that_it_names(uses: set[Use]) -> None:
    drawn: list[Progress] = []

    def sample(logits: CellLogits, mixing: CellMixing, space: CellSpace, progress: Progress) -> CellMixing:
        assert len(space.candidates) == len(logits.alpha_EO) == len(space.topology.edges)
        drawn.append(progress)
        return mixing

    method = tiny_method(phases=(Phase(2, 2, 3),), sample=Sample(sample, frozenset(uses)),
                         initialise=normal_alpha(1.0))  # fmt: skip
    outcome = search(method)
    batches = {"weights": len(DATA.weights), "architecture": len(DATA.weights), "evaluation": 1}
    each = sum(2 * batches[use] for use in uses)  # a normal and a reduction cell each
    assert drawn == [0.0] * each + [1.0] * each
    assert equal(record(outcome), record(search(replace(method, sample=None))))


def test_the_genotype_is_read_from_what_the_method_parses() -> None:
    def negated(logits: CellLogits, _space: CellSpace, _progress: Progress) -> CellMixing:
        return CellMixing(-logits.alpha_EO)

    state = search(
        tiny_method(phases=(Phase(1, 2, 3),), initialise=normal_alpha(1.0), discretize=Discretize(read=negated))
    ).state
    weakest = two(Mixing, *(CellMixing(-state.logits[kind].alpha_EO) for kind in DARTS_KINDS))
    assert state.genotype() == strongest_edges(weakest, state.spec.space)
    assert state.genotype() != strongest_edges(state.mixing(), state.spec.space)


def test_a_discretizer_and_relaxation_of_the_method_are_used() -> None:
    fixed = RANDOM.discretize(two(Mixing, CellMixing(torch.eye(5)), CellMixing(torch.eye(5))), tiny_spec().space)

    def discretize(*_arguments: object) -> Genotype:
        return fixed

    method = tiny_method(phases=(Phase(1, 2, 3),), initialise=normal_alpha(1.0), discretize=Discretize(discretize))
    assert genotype_from_json(json.loads(search(method).history.rows[0]["genotype"])) == fixed


def test_training_lowers_the_loss() -> None:
    batches = TinyBatches(20, 10)
    data = SearchData(batches, batches, TinyBatches(20, 10, shuffled=False))
    method = tiny_method(phases=(Phase(6, 4, 3),), initialise=normal_alpha(1e-3))
    rows = run_search(method, tiny_spec(), data, seed=0, device=CPU).history.rows
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]
    assert rows[-1]["train_accuracy"] > rows[0]["train_accuracy"]


def test_kernels_are_chosen_by_what_is_left_of_a_phase_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(loop, "choose_kernels", lambda device, left: told.append(left) if device == CPU else None)
    method = replace(ONE_PHASE, phases=(Phase(3, 2, 3), Phase(3, 2, 3)))
    taken = [row["seconds"] for row in search(method).history.rows]
    assert told == [0.0, 0.0, min(taken[:2]), 0.0, 0.0, min(taken[3:5])]
