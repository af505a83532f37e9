"""Signs of collapse are measured as R-DARTS and DA2S define them, leave the search untouched, and are told in words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from nascommon.parts.logits import CellLogits
from nascommon.search.loop import run_search
from nascommon.search.passes import calibration
from nascommon.search.scores import recalibrated_scores, supernet_scores
from nascommon.search.watch import collapse_signs, hessian_eigenvalue, power_iteration, warnings
from nascommon.space.mixing import CellMixing, Mixing, one_hot
from nascommon.space.space import CellSpace
from tests.search.small import CPU, batch, double_state, equal, frozen, tiny_data, tiny_method, tiny_spec, wide_alpha
from tests.space.kinds import two

ROW = {"epoch": 7, "phase": 0, "skips_normal": 1, "entropy_normal": 1.0}


def exact_hessian(state: Any, data: Any) -> Tensor:
    """Return the Hessian of the validation loss in all alphas, entry by entry."""
    sizes = [tensor.numel() for tensor in state.logits.tensors()]
    shapes = [tensor.shape for tensor in state.logits.tensors()]
    buffers = {name: buffer.clone() for name, buffer in state.supernet.named_buffers()}

    def loss(flat: Tensor) -> Tensor:
        parts = [part.view(shape).softmax(-1) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]
        mixing = two(Mixing, CellMixing(parts[0]), CellMixing(parts[1]))
        out = functional_call(state.supernet, {name: b.clone() for name, b in buffers.items()}, (data.images, mixing))
        return functional.cross_entropy(out, data.labels)

    flat = torch.cat([tensor.detach().flatten() for tensor in state.logits.tensors()])
    hessian: Tensor = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    return hessian


def test_the_eigenvalue_is_the_largest_of_the_exact_hessian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nascommon.search.watch.ITERATIONS", 400)
    monkeypatch.setattr("nascommon.search.watch.TOLERANCE", 1e-9)
    state, data = double_state(nodes=1), batch(3)
    expected = float(torch.linalg.eigvalsh(exact_hessian(state, data))[-1])
    assert hessian_eigenvalue(state, data) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_logits_without_a_say_do_not_change_the_eigenvalue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nascommon.search.watch.ITERATIONS", 400)
    monkeypatch.setattr("nascommon.search.watch.TOLERANCE", 1e-9)

    def with_beta(space: CellSpace, draws: torch.Generator) -> CellLogits:
        edges = torch.zeros(len(space.candidates), dtype=torch.float64)  # which the relaxation does not read
        return replace(wide_alpha(space, draws), beta_E=edges)

    methods = tiny_method(), tiny_method(initialise=with_beta)
    expected, found = (hessian_eigenvalue(double_state(method, nodes=1), batch(3)) for method in methods)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("diagonal", "expected"), [((3.0, 1.0, -2.0), 3.0), ((1.0, -5.0, 0.5), -5.0)])
def test_power_iteration_finds_the_eigenvalue_of_largest_magnitude(
    diagonal: tuple[float, ...], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nascommon.search.watch.ITERATIONS", 200)
    monkeypatch.setattr("nascommon.search.watch.TOLERANCE", 1e-12)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    assert power_iteration(lambda v: matrix @ v, torch.ones(3, dtype=torch.float64)) == pytest.approx(expected)


def test_measuring_leaves_the_search_untouched() -> None:
    state, data = double_state(), tiny_data(torch.float64)
    state.supernet.set_skip_dropout(0.5)
    before = frozen(state)
    signs = collapse_signs(state, state.genotype(), data, 0.75, seed=0)
    assert set(signs) == {"watch_gap", "watch_eigenvalue"}
    assert equal(frozen(state), before)
    assert state.supernet.training
    assert state.supernet.skip_dropout == 0.5


def test_the_gap_is_soft_minus_kept_accuracy() -> None:
    state, data = double_state(), tiny_data(torch.float64)
    kept = one_hot(state.genotype(), state.spec.space, like=state.logits["normal"].alpha_EO)
    accuracy = recalibrated_scores(state.supernet, kept, calibration(data, 0), data.validation.epoch(0))[1]
    assert accuracy != supernet_scores(state.supernet, kept, data.validation.epoch(0))[1]  # the mixture's batch norm
    assert collapse_signs(state, state.genotype(), data, 0.75, seed=0)["watch_gap"] == 0.75 - accuracy


def test_a_method_that_learns_nothing_has_no_eigenvalue() -> None:
    state = double_state(tiny_method(arch_gradient=None))
    assert set(collapse_signs(state, state.genotype(), tiny_data(torch.float64), 0.5, seed=0)) == {"watch_gap"}


def test_a_search_is_the_same_watched_or_not_and_its_history_holds_the_signs() -> None:
    method, data = tiny_method(), tiny_data(torch.float64)
    phases = (replace(method.phases[0], epochs=4),)

    def outcome(every: int) -> Any:
        torch.set_default_dtype(torch.float64)
        try:
            return run_search(replace(method, phases=phases), tiny_spec(), data, seed=0, device=CPU, watch_every=every)
        finally:
            torch.set_default_dtype(torch.float32)

    watched, plain = outcome(2), outcome(0)
    assert equal(watched.state.state_dict(), plain.state.state_dict())
    assert ["watch_gap" in row for row in watched.history.rows] == [False, True, False, True]
    assert "warnings" in watched.history.rows[1]
    assert {"watch_gap", "watch_eigenvalue", "warnings"} <= set(watched.history.table().columns)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"skips_normal": 5}, "5 of 8 edges"),
        ({"entropy_normal": math.log(8)}, "almost equal"),
        ({"watch_gap": 0.4}, "would cost 40 points"),
        ({"watch_eigenvalue": 2.0}, "rose from 1 to 2"),
    ],
)
def test_each_sign_has_its_warning(row: dict[str, Any], words: str) -> None:
    rows = [{**ROW, "watch_eigenvalue": 1.0}, {**ROW, **row}]
    assert len(warnings(rows, progress=0.8, edges=8, operations=8, kind="normal")) == 1
    assert words in warnings(rows, progress=0.8, edges=8, operations=8, kind="normal")[0]


def test_eigenvalues_of_two_supernets_are_not_compared() -> None:
    rows = [{**ROW, "watch_eigenvalue": 1.0}, {**ROW, "phase": 1, "watch_eigenvalue": 9.0}]
    assert warnings(rows, progress=0.8, edges=8, operations=8, kind="normal") == []
    later = {**ROW, "phase": 1, "watch_eigenvalue": 20.0}
    assert "rose from 9 to 20" in warnings([*rows, later], progress=0.8, edges=8, operations=8, kind="normal")[0]


def test_the_seed_of_the_run_decides_where_the_eigenvalue_is_measured() -> None:
    state, data = double_state(), tiny_data(torch.float64)
    signs = [collapse_signs(state, state.genotype(), data, 0.5, seed=seed)["watch_eigenvalue"] for seed in (0, 0, 1)]
    assert signs[0] == signs[1] != signs[2]


def test_a_healthy_epoch_warns_of_nothing_and_flat_weights_early_are_no_sign() -> None:
    assert warnings([ROW], progress=0.8, edges=8, operations=8, kind="normal") == []
    assert warnings([{**ROW, "entropy_normal": math.log(8)}], progress=0.2, edges=8, operations=8, kind="normal") == []
