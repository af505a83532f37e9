"""Samplers draw from the distributions of their papers and pass gradients as these say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, SearchSize
from nascommon.parts.choices import Use
from nascommon.parts.control import Control, constant, falling, linear, scaled
from nascommon.parts.logits import CellLogits
from nascommon.parts.relaxation import dirichlet_mean, softmax_over_operations
from nascommon.parts.sampling import (
    Sampler,
    auxiliary_skip,
    dirichlet,
    gumbel,
    gumbel_one_hot,
    perturbed,
    random_path,
)
from nascommon.search.state import SearchState, new_state
from nascommon.space.mixing import CellMixing
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import CellSpace, find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.search.small import CPU
from tests.space.kinds import space_of

SPACE = CellSpace(Topology(), (CANDIDATES,) * 14)
ROW = [0.05, 0.3, 0.1, 0.15, 0.4]
DRAWS = 20_000
CHI_SQUARE_4 = 18.47
"""The 0.1 % point of 4 degrees of freedom."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_logits(seed: int = 0) -> CellLogits:
    alpha = torch.randn(14, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return CellLogits(alpha.requires_grad_())


def many_rows() -> tuple[CellLogits, CellMixing]:
    """Return the same weights on so many edges that one draw is a sample of the distribution."""
    weights = torch.tensor(ROW, dtype=torch.float64).expand(DRAWS, -1)
    return CellLogits(weights.log()), CellMixing(weights)


def chi_square(chosen: Tensor) -> float:
    counts: list[int] = torch.bincount(chosen, minlength=len(ROW)).tolist()
    return sum((count - DRAWS * p) ** 2 / (DRAWS * p) for count, p in zip(counts, ROW, strict=True))


# -- one architecture --


def test_a_random_path_is_drawn_in_proportion_to_the_mixing_weights() -> None:
    space = CellSpace(Topology(1), (("none", "skip_connect", "sep_conv_3x3"),) * 2)
    weights = torch.tensor([[0.5, 0.1, 0.4], [0.2, 0.6, 0.2]])
    mixing, seen = CellMixing(weights), Counter[tuple[int, ...]]()
    draws = 4000
    for _ in range(draws):
        drawn = random_path(CellLogits(weights), mixing, space, 0.0)
        seen[tuple(drawn.weights_EO.argmax(dim=1).tolist())] += 1
    chances = {(1, 1): 0.2 * 0.75, (1, 2): 0.2 * 0.25, (2, 1): 0.8 * 0.75, (2, 2): 0.8 * 0.25}
    assert set(seen) == set(chances)
    assert sum((seen[pair] - draws * p) ** 2 / (draws * p) for pair, p in chances.items()) < 16.27  # 3 degrees, 0.1 %


def test_a_random_path_has_weight_one_on_two_edges_of_every_node_and_computes_no_other() -> None:
    mixing = softmax_over_operations(random_logits(), SPACE, 0.0)
    drawn = random_path(random_logits(), mixing, SPACE, 0.0)
    assert drawn.active is not None
    assert [[(o,) for o in row.nonzero().flatten().tolist()] for row in drawn.weights_EO] == [
        [choice] if choice else [] for choice in drawn.active
    ]
    assert [sum(map(bool, drawn.active[r.start : r.stop])) for r in SPACE.topology.incoming.values()] == [2] * 4
    assert drawn.weights_EO[:, 0].eq(0).all()


# -- Gumbel --


@pytest.mark.parametrize("temperature", [0.03, 1.0, 10.0])
def test_soft_gumbel_weights_lie_on_the_simplex(temperature: float) -> None:
    drawn = gumbel(scaled(temperature, constant))(*many_rows(), SPACE, 0.0).weights_EO
    assert (drawn >= 0).all()
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(DRAWS, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("make", [gumbel, gumbel_one_hot])
def test_the_heaviest_of_a_gumbel_draw_is_distributed_as_the_mixing_weights(
    make: Callable[[Control], Sampler], temperature: float
) -> None:
    drawn = make(scaled(temperature, constant))(*many_rows(), SPACE, 0.0).weights_EO
    assert chi_square(drawn.argmax(dim=1)) < CHI_SQUARE_4


def test_soft_gumbel_weights_sharpen_as_the_temperature_falls() -> None:
    sampler = gumbel(lambda progress: 10 - 9.9 * progress)
    largest = [float(sampler(*many_rows(), SPACE, t).weights_EO.amax(dim=1).mean()) for t in (0.0, 0.5, 1.0)]
    assert largest == sorted(largest)
    assert largest[0] < 0.4
    assert largest[-1] > 0.95


def test_a_gdas_draw_is_one_hot_and_computes_only_what_it_chose() -> None:
    mixing = softmax_over_operations(random_logits(), SPACE, 0.0)
    drawn = gumbel_one_hot(constant)(random_logits(), mixing, SPACE, 0.0)
    chosen = drawn.weights_EO.argmax(dim=1)
    one_hot = torch.nn.functional.one_hot(chosen, 8).double()
    torch.testing.assert_close(drawn.weights_EO, one_hot, rtol=0, atol=1e-6)
    assert drawn.active == tuple((choice,) for choice in chosen.tolist())


@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_the_gradient_of_a_gdas_draw_is_that_of_the_soft_weights_at_its_temperature(progress: float) -> None:
    slopes: list[Tensor] = []
    values = torch.randn(14, 8, dtype=torch.float64)
    for make in (gumbel, gumbel_one_hot):
        logits = random_logits()
        torch.manual_seed(3)
        mixing = softmax_over_operations(logits, SPACE, progress)
        drawn = make(lambda t: 5 - 4 * t)(logits, mixing, SPACE, progress)
        slopes += torch.autograd.grad((drawn.weights_EO * values).sum(), logits.alpha_EO)
    torch.testing.assert_close(slopes[1], slopes[0])
    assert float(slopes[0].abs().min()) > 0


def test_the_gradient_of_a_gdas_draw_grows_as_its_temperature_falls() -> None:
    sampler, values = gumbel_one_hot(lambda t: 10 - 9 * t), torch.randn(14, 8, dtype=torch.float64)
    sizes = []
    for progress in (0.0, 0.5, 1.0):
        logits = random_logits()
        torch.manual_seed(3)
        drawn = sampler(logits, softmax_over_operations(logits, SPACE, progress), SPACE, progress)
        sizes.append(float(torch.autograd.grad((drawn.weights_EO * values).sum(), logits.alpha_EO)[0].norm()))
    assert sizes == sorted(sizes)
    assert sizes[2] > 3 * sizes[0]


# -- Dirichlet --


def test_the_mean_of_dirichlet_draws_is_the_mixing_weights_that_a_genotype_is_read_from() -> None:
    alpha = torch.tensor([-1.5, -0.3, 0.0, 0.4, 2.0], dtype=torch.float64).expand(DRAWS, -1)
    logits = CellLogits(alpha)
    mean = dirichlet_mean(logits, SPACE, 0.0)
    drawn = dirichlet(logits, mean, SPACE, 0.0).weights_EO
    error = drawn.std(dim=0) / DRAWS**0.5
    assert ((drawn.mean(dim=0) - mean.weights_EO[0]).abs() < 4 * error).all()


def test_the_variance_of_dirichlet_draws_is_that_of_the_concentration() -> None:
    concentration = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    alpha = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    alpha = torch.where(alpha < 1, alpha.log(), alpha - 1).expand(DRAWS, -1)
    drawn = dirichlet(CellLogits(alpha), CellMixing(alpha), SPACE, 0.0).weights_EO
    share = concentration / concentration.sum()
    expected = share * (1 - share) / (concentration.sum() + 1)
    torch.testing.assert_close(drawn.var(dim=0), expected, rtol=0.05, atol=0)


def test_dirichlet_draws_lie_on_the_simplex_and_their_gradient_reaches_every_alpha() -> None:
    logits = random_logits()
    drawn = dirichlet(logits, dirichlet_mean(logits, SPACE, 0.0), SPACE, 0.0).weights_EO
    assert (drawn > 0).all()
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(14, dtype=torch.float64))
    values = torch.randn(14, 8, dtype=torch.float64)
    (slope,) = torch.autograd.grad((drawn * values).sum(), logits.alpha_EO)
    assert (slope != 0).all()


# -- the auxiliary skip of DARTS- --


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.9])
def test_the_auxiliary_skip_adds_its_strength_to_the_skip_and_leaves_the_others(progress: float) -> None:
    mixing = softmax_over_operations(random_logits(), SPACE, 0.0)
    added = auxiliary_skip(falling)(random_logits(), mixing, SPACE, progress).weights_EO - mixing.weights_EO
    expected = torch.zeros(14, 8, dtype=torch.float64)
    expected[:, CANDIDATES.index("skip_connect")] = 1 - progress
    torch.testing.assert_close(added, expected)


def test_the_auxiliary_skip_is_gone_at_the_end() -> None:
    mixing = softmax_over_operations(random_logits(), SPACE, 0.0)
    drawn = auxiliary_skip(falling)(random_logits(), mixing, SPACE, 1.0)
    assert torch.equal(drawn.weights_EO, mixing.weights_EO)


def test_the_auxiliary_skip_finds_the_skip_among_the_candidates_of_each_edge() -> None:
    space = CellSpace(Topology(1), (("skip_connect", "none"), ("none", "sep_conv_3x3")))
    zeros = torch.zeros(2, 2)
    drawn = auxiliary_skip(constant)(CellLogits(zeros), CellMixing(zeros), space, 0.0)
    assert drawn.weights_EO.tolist() == [[1.0, 0.0], [0.0, 0.0]]


# -- the noise of SDARTS --


def slow_noise(weights: list[list[float]], noise: list[list[float]]) -> list[list[float]]:
    """Project as the released code does: clamp, keep the heaviest where nothing is left, divide by the sum."""
    rows = []
    for weight_O, noise_O in zip(weights, noise, strict=True):
        moved = [w + n for w, n in zip(weight_O, noise_O, strict=True)]
        inside = [min(max(m, 0.0), 1.0) for m in moved]
        if sum(inside) == 0:
            inside[moved.index(max(moved))] = 1.0
        rows.append([i / sum(inside) for i in inside])
    return rows


@pytest.mark.parametrize("radius", [0.03, 0.3, 1.5])
def test_noise_is_uniform_within_the_radius_and_then_projected_as_released(radius: float) -> None:
    weights = torch.cat([softmax_over_operations(random_logits(), SPACE, 0.0).weights_EO.detach()] * 20)
    torch.manual_seed(1)
    ours = perturbed(scaled(radius, constant))(random_logits(), CellMixing(weights), SPACE, 0.0).weights_EO
    torch.manual_seed(1)
    noise = torch.empty_like(weights).uniform_(-radius, radius)
    assert float(noise.abs().max()) > 0.9 * radius
    torch.testing.assert_close(ours, torch.tensor(slow_noise(weights.tolist(), noise.tolist()), dtype=torch.float64))


def test_an_edge_with_nothing_left_keeps_its_heaviest_candidate() -> None:
    weights = torch.full((4000, 2), 1e-3, dtype=torch.float64)
    drawn = perturbed(constant)(CellLogits(weights), CellMixing(weights), SPACE, 0.0).weights_EO
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(4000, dtype=torch.float64))
    assert int((drawn.amax(dim=1) == 1).sum()) > 2500  # both fell below zero, or one of them
    assert drawn.isfinite().all()


@pytest.mark.parametrize("radius", [0.01, 0.3, 1.0])
def test_noisy_weights_stay_on_the_simplex(radius: float) -> None:
    drawn = perturbed(scaled(radius, constant))(*many_rows(), SPACE, 0.0).weights_EO
    assert (drawn >= 0).all()
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(DRAWS, dtype=torch.float64))


def test_what_is_projected_lies_within_the_radius() -> None:
    radius = 0.02  # less than every weight, so that nothing is clamped and a draw is (w + noise) / sum
    _, mixing = many_rows()
    drawn = perturbed(scaled(radius, constant))(*many_rows(), SPACE, 0.0).weights_EO
    lowest = ((mixing.weights_EO - radius) / drawn).amax(dim=1)
    highest = ((mixing.weights_EO + radius) / drawn).amin(dim=1)
    assert (lowest <= highest + 1e-12).all()


def test_noise_grows_with_the_search() -> None:
    _, mixing = many_rows()
    sampler = perturbed(scaled(0.3, linear))
    moved = [
        float((sampler(*many_rows(), SPACE, t).weights_EO - mixing.weights_EO).abs().mean()) for t in (0.0, 0.1, 0.5, 1)
    ]
    assert moved[0] == pytest.approx(0, abs=1e-12)
    assert moved == sorted(moved)
    assert moved[3] > 0.05


# -- where a method draws --


def state_of(name: str) -> SearchState:
    entry = REGISTRY[name]
    method = entry.recipe(entry.settings(), SearchSize(4, 3, find_space("darts", 2)))
    topology = Topology(2)
    spec = SupernetSpec(4, 3, 4, method.searched(space_of(CANDIDATES, topology)))
    state = new_state(method, spec, seed=0, phase=0, device=CPU)
    state.progress = 0.5
    return state


def draws(state: SearchState, use: Use) -> bool:
    """Say whether that forward pass sees other than the mixing weights."""
    return not torch.equal(state.draw(use)["normal"].weights_EO, state.mixing()["normal"].weights_EO)


def test_sdarts_draws_noise_in_weight_steps_only() -> None:
    state = state_of("sdarts")
    assert [draws(state, use) for use in ("weights", "architecture", "evaluation")] == [True, False, False]


@pytest.mark.parametrize("name", ["gdas", "drnas", "random"])
def test_samplers_draw_in_every_step_and_leave_scores_to_the_mean_of_their_draws(name: str) -> None:
    state = state_of(name)
    assert [draws(state, use) for use in ("weights", "architecture", "evaluation")] == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gdas", "drnas", "random"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mixing_weights_of_scores_are_what_the_draws_are_on_average(name: str, seed: int) -> None:
    state, many = state_of(name), 4000
    with torch.no_grad():
        for tensor in state.logits.tensors():
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)))
        expected = state.scored()["normal"].products()
        mean = torch.stack([state.draw("weights")["normal"].products() for _ in range(many)]).mean(0)
    # A weight between 0 and 1 with mean m has at most the variance m (1 - m).
    assert ((mean - expected).abs() <= 4.5 * (expected * (1 - expected) / many).sqrt() + 1e-6).all()


def test_the_auxiliary_skip_is_no_draw_and_there_in_every_forward_pass() -> None:
    state = state_of("dartsminus")
    assert all(draws(state, use) for use in ("weights", "architecture", "evaluation"))


@pytest.mark.parametrize("name", ["darts", "pcdarts", "pdarts", "da2s", "ecdarts", "fairdarts", "betadarts"])
def test_methods_without_a_sampler_use_the_mixing_weights_themselves(name: str) -> None:
    state = state_of(name)
    assert not any(draws(state, use) for use in ("weights", "architecture", "evaluation"))


@pytest.mark.parametrize(
    "sampler", [gumbel(constant), gumbel_one_hot(constant), dirichlet, auxiliary_skip(constant), perturbed(constant)]
)
def test_a_sampler_leaves_the_weights_of_edges_as_they_are(sampler: Sampler) -> None:
    edges = torch.arange(14.0)
    mixing = CellMixing(softmax_over_operations(random_logits(), SPACE, 0.0).weights_EO, edges)
    drawn = sampler(random_logits(), mixing, SPACE, 0.5)
    assert drawn.edges_E is edges


@pytest.mark.parametrize("sampler", [gumbel(constant), gumbel_one_hot(constant), dirichlet, perturbed(constant)])
def test_every_call_draws_anew(sampler: Sampler) -> None:
    logits = random_logits()
    mixing = softmax_over_operations(logits, SPACE, 0.0)
    first, second = (sampler(logits, mixing, SPACE, 0.5).weights_EO for _ in range(2))
    assert not torch.equal(first, second)
