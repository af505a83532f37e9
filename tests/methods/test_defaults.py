"""The records of the methods have the papers' and the released codes' numbers, and every setting reaches them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, ArchOptimiser, Phase
from nascommon.parts.choices import STEPS, USES, FirstOrder, Induced, MixedOp, Soft
from nascommon.parts.logits import CellLogits, Logits
from nascommon.parts.penalty import beta_decay_penalty, no_penalty, zero_one_penalty
from nascommon.parts.relaxation import (
    cross_edge_softmax,
    dirichlet_mean,
    raw,
    sigmoid,
    softmax_over_operations,
    softmax_per_node,
    uniform_path,
)
from nascommon.parts.sampling import Sampler, auxiliary_skip, dirichlet, gumbel, gumbel_one_hot, perturbed, random_path
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import SPACES, CellSpace
from tests.methods.behaviour import TOPOLOGY, behaviour, record
from tests.space.kinds import cell_space, space_of, two

# -- defaults --


class Expected(NamedTuple):
    """Defaults of the papers and of the released codes."""

    epochs: int = 50
    warmup: int = 0
    batch_size: int = 64
    lr: float = 0.025
    lr_min: float = 0.001
    weight_decay: float = 3e-4
    alpha_lr: float = 3e-4
    beta1: float = 0.5
    alpha_delay: int = 0
    operations: int = 8
    alpha_scale: float = 1e-3


EXPECTED = {
    "darts": Expected(),
    "pcdarts": Expected(warmup=15, batch_size=256, lr=0.1, lr_min=0.0, alpha_lr=6e-4),
    "da2s": Expected(alpha_delay=7, operations=7, alpha_scale=1e-4),
    "ecdarts": Expected(epochs=25, batch_size=32),
    "fairdarts": Expected(batch_size=128, lr=0.005, alpha_lr=3e-3, beta1=0.9, operations=7, alpha_scale=0.0),
    "betadarts": Expected(operations=7),
    "custom": Expected(),
    "dartsminus": Expected(),
    "dartsplus": Expected(),
    "gdas": Expected(epochs=250, batch_size=256, weight_decay=5e-4),
    "drnas": Expected(warmup=10, lr=0.1, lr_min=0.0, alpha_lr=6e-4, operations=7),
    "sdarts": Expected(operations=7),
    "random": Expected(alpha_scale=0.0),
}
SINGLE = sorted(EXPECTED)
PUBLISHED = sorted({*EXPECTED, "pdarts"})
"""Methods whose numbers are written out here; what no paper has said yet need not be."""


def optimiser(name: str) -> ArchOptimiser:
    """Return the optimiser of the logits of a method that learns them by the first-order gradient."""
    learned = record(name).arch_gradient
    assert learned is not None
    assert learned.approximation == FirstOrder()
    return learned.optimiser


@pytest.mark.parametrize("name", SINGLE)
def test_the_search_is_one_phase_of_the_published_length(name: str) -> None:
    expected = EXPECTED[name]
    assert record(name).phases == (Phase(expected.epochs, 16, 8, expected.warmup),)
    assert record(name).batch_size == expected.batch_size


@pytest.mark.parametrize("name", SINGLE)
def test_the_weights_learn_as_published(name: str) -> None:
    weights, expected = record(name).weights, EXPECTED[name]
    assert (weights.lr, weights.lr_min, weights.weight_decay) == (expected.lr, expected.lr_min, expected.weight_decay)
    assert (weights.momentum, weights.clip, weights.warmup_epochs) == (0.9, 5.0, 0)


@pytest.mark.parametrize("name", [name for name in SINGLE if name != "random"])
def test_the_architecture_learns_as_published(name: str) -> None:
    arch, expected = optimiser(name), EXPECTED[name]
    assert (arch.lr, arch.beta1, arch.alpha_delay) == (expected.alpha_lr, expected.beta1, expected.alpha_delay)
    assert (arch.beta2, arch.weight_decay, arch.clip) == (0.999, 1e-3, None)


def test_random_search_learns_no_architecture() -> None:
    assert record("random").arch_gradient is None


@pytest.mark.parametrize("name", SINGLE)
def test_the_candidates_are_the_eight_of_darts_or_those_without_none(name: str) -> None:
    space = record(name).searched(SPACES["darts"])
    assert space.candidates["normal"] == (CANDIDATES[8 - EXPECTED[name].operations :],) * 14


@pytest.mark.parametrize("name", PUBLISHED)
def test_alpha_starts_at_the_published_scale(name: str) -> None:
    scale = 1e-3 if name == "pdarts" else EXPECTED[name].alpha_scale
    ours = record(name).initialise(cell_space(CANDIDATES), torch.Generator().manual_seed(0)).alpha_EO
    expected = scale * torch.randn(14, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours, expected)


def test_pdarts_has_three_phases_of_25_epochs_ever_deeper_with_fewer_candidates() -> None:
    assert record("pdarts").phases == (
        Phase(25, 16, 5, 10, 5, 0.0),
        Phase(25, 16, 11, 10, 3, 0.4),
        Phase(25, 16, 17, 10, None, 0.7),
    )


def test_pdarts_learns_as_published() -> None:
    method = record("pdarts")
    assert method.none
    assert (method.batch_size, method.weights.lr, method.weights.lr_min) == (96, 0.025, 0.0)
    arch = optimiser("pdarts")
    assert (arch.lr, arch.weight_decay, arch.clip, arch.beta1) == (6e-4, 1e-3, 5.0, 0.5)


def test_only_pcdarts_searches_in_a_quarter_of_the_channels() -> None:
    assert {name: record(name).mixed_op for name in PUBLISHED} == {
        name: MixedOp(channel_divisor=4 if name == "pcdarts" else 1, stem="cifar") for name in PUBLISHED
    }


RELAXED = {"fairdarts": sigmoid, "drnas": dirichlet_mean, "ecdarts": cross_edge_softmax, "random": uniform_path}


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"pcdarts", "da2s"}))
def test_the_mixing_weights_are_those_of_the_paper(name: str) -> None:
    assert record(name).relax is RELAXED.get(name, softmax_over_operations)


def test_pcdarts_starts_with_nearly_equal_edges() -> None:
    logits = record("pcdarts").initialise(cell_space(CANDIDATES), torch.Generator().manual_seed(0))
    assert float(logits.betas().std()) == pytest.approx(1e-3, rel=0.5)
    shares = softmax_per_node(logits.betas(), TOPOLOGY)
    torch.testing.assert_close(shares[9:], torch.full((5,), 0.2), rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("kept", "starts"),
    [(8, (1, 2 / 3, 1 / 2, 2 / 5)), (5, (1 / 2, 1 / 3, 1 / 4, 2 / 5)), (3, (1 / 2, 1 / 3, 1 / 4, 1 / 5))],
)
def test_da2s_starts_with_betas_that_sum_to_the_edges_to_keep(kept: int, starts: tuple[float, ...]) -> None:
    betas = (
        record("da2s", kept_edges=kept).initialise(cell_space(CANDIDATES[1:]), torch.Generator().manual_seed(0)).betas()
    )
    expected = torch.tensor([start for n, start in zip((2, 3, 4, 5), starts, strict=True) for _ in range(n)])
    torch.testing.assert_close(betas, expected, rtol=0, atol=5e-4)
    assert not torch.equal(betas, expected)


def test_ecdarts_trains_the_induced_model_after_every_epoch_and_parses_normalised_weights() -> None:
    method = record("ecdarts")
    assert method.passes == (Soft(), Induced(arch_steps=True))
    assert method.discretize.read is None
    assert record("ecdarts", parse_on="raw").discretize.read is raw


def test_without_its_two_ideas_ecdarts_is_darts_with_its_own_numbers() -> None:
    method = record("ecdarts", cen=False, ist=False, epochs=50, batch_size=64)
    assert behaviour(method) == behaviour(record("darts"))


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"ecdarts"}))
def test_no_other_method_trains_an_induced_model(name: str) -> None:
    assert record(name).passes == (Soft(),)


LOGITS = two(Logits, *(CellLogits(torch.randn(14, 7, generator=torch.Generator().manual_seed(i))) for i in (0, 1)))


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_fairdarts_weighs_the_zero_one_loss_with_ten(t: float) -> None:
    assert torch.equal(
        record("fairdarts").penalty(LOGITS, SPACES["darts"], t), zero_one_penalty(10.0)(LOGITS, SPACES["darts"], t)
    )


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_betadarts_raises_its_decay_linearly_from_zero_to_twenty_five(t: float) -> None:
    expected = beta_decay_penalty(lambda progress: 25 * progress)(LOGITS, SPACES["darts"], t)
    torch.testing.assert_close(record("betadarts").penalty(LOGITS, SPACES["darts"], t), expected)


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"fairdarts", "betadarts", "da2s"}))
def test_the_other_methods_have_no_penalty(name: str) -> None:
    assert record(name).penalty is no_penalty


SAMPLERS: list[tuple[str, dict[str, Any], Sampler]] = [
    ("gdas", {}, gumbel_one_hot(lambda t: 10 - 9.9 * t)),
    (
        "gdas",
        {"draw": "soft", "first_temperature": 1.0, "last_temperature": 0.03},
        gumbel(lambda t: 1 - 0.97 * t),
    ),
    ("sdarts", {}, perturbed(lambda t: 0.03 + 0.27 * t)),
    ("dartsminus", {}, auxiliary_skip(lambda t: 1 - t)),
    ("drnas", {}, dirichlet),
    ("random", {}, random_path),
]


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("name", "more", "expected"), SAMPLERS)
def test_a_method_draws_what_its_paper_says(name: str, more: dict[str, Any], expected: Sampler, t: float) -> None:
    sample = record(name, **more).sample
    assert sample is not None
    space = CellSpace(TOPOLOGY, (CANDIDATES,) * 14)
    logits = CellLogits(torch.randn(14, 8, generator=torch.Generator().manual_seed(0)))
    mixing = softmax_over_operations(logits, space, t)
    drawn = []
    for sampler in (sample.draw, expected):
        torch.manual_seed(1)
        drawn.append(sampler(logits, mixing, space, t).weights_EO)
    torch.testing.assert_close(*drawn)


def test_only_sdarts_draws_in_weight_steps_alone_and_only_dartsminus_in_scores() -> None:
    others = {"sdarts": {"weights"}, "dartsminus": USES}
    samples = {name: record(name).sample for name in PUBLISHED}
    assert {name: sample.uses for name, sample in samples.items() if sample} == {
        name: others.get(name, STEPS) for name in sorted({name for name, *_ in SAMPLERS})
    }


@pytest.mark.parametrize(("skips", "stops"), [(0, False), (1, False), (2, True), (3, True)])
def test_dartsplus_stops_at_two_skips_in_the_normal_cell(skips: int, stops: bool) -> None:
    def cell(count: int) -> CellGenotype:
        names = ["skip_connect"] * count + ["sep_conv_3x3"] * (4 - count)
        return CellGenotype(tuple((Choice(name, 0),) for name in names), (2, 3, 4, 5))

    stop = record("dartsplus").stop
    assert stop is not None
    assert stop(two(Genotype, cell(skips), cell(3 - skips))) is stops


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"dartsplus"}))
def test_the_other_methods_never_stop_early(name: str) -> None:
    assert record(name).stop is None


def test_fairdarts_keeps_only_edges_that_reach_085() -> None:
    weights = torch.full((14, 7), 0.84)
    weights[0, 3] = weights[12, 5] = 0.86
    genotype = record("fairdarts").discretize(
        two(Mixing, CellMixing(weights), CellMixing(weights)), space_of(CANDIDATES[1:], TOPOLOGY)
    )
    assert genotype["normal"].nodes == ((Choice("sep_conv_3x3", 0),), (), (), ())


# -- what custom can be --


def test_a_custom_method_is_darts_unless_told_otherwise() -> None:
    assert behaviour(record("custom")) == behaviour(record("darts"))


def test_a_custom_method_can_be_pcdarts() -> None:
    custom = record(
        "custom",
        relax={"edges": "softmax"},
        mixed_op={"channel_divisor": 4},
        phases=({"epochs": 50, "warmup": 15},),
        batch_size=256,
        weights={"lr": 0.1, "lr_min": 0.0},
        architecture={"lr": 6e-4},
    )
    assert behaviour(custom) == behaviour(record("pcdarts"))


def test_a_custom_method_can_be_pdarts() -> None:
    stages = [(5, 5, 0.0), (11, 3, 0.4), (17, None, 0.7)]
    custom = record(
        "custom",
        phases=tuple(
            {"epochs": 25, "warmup": 10, "cells": cells, "keep": keep, "skip_dropout": dropout}
            for cells, keep, dropout in stages
        ),
        discretize={"most_skips": 2},
        batch_size=96,
        weights={"lr_min": 0.0},
        architecture={"lr": 6e-4, "clip": 5.0},
    )
    assert behaviour(custom) == behaviour(record("pdarts"))


def test_a_custom_method_can_have_the_penalty_of_da2s() -> None:
    custom = record("custom", relax={"operations": "sharpened_softmax", "edges": "clipped_softmax"},
                    penalty={"entropy": {}})  # fmt: skip
    logits = two(
        Logits,
        *(CellLogits(cell.alpha_EO, cell.alpha_EO.sum(dim=1)) for cell in (LOGITS["normal"], LOGITS["reduction"])),
    )
    for t in (0.0, 0.3, 1.0):
        torch.testing.assert_close(
            custom.penalty(logits, SPACES["darts"], t), record("da2s").penalty(logits, SPACES["darts"], t)
        )


def test_the_passes_of_a_custom_method_carry_their_settings() -> None:
    assert record("custom", passes=("soft", "induced")).passes == (Soft(), Induced(arch_steps=True))
    induced = {"kind": "induced", "arch_steps": False}
    assert record("custom", passes=("soft", induced)).passes == (Soft(), Induced(arch_steps=False))


def test_the_penalties_of_a_custom_method_add_up() -> None:
    custom = record("custom", relax={"operations": "sigmoid"}, penalty={"zero_one": 10.0, "beta_decay": 25.0})
    for t in (0.0, 0.3, 1.0):
        parts = [record(name).penalty(LOGITS, SPACES["darts"], t) for name in ("fairdarts", "betadarts")]
        torch.testing.assert_close(custom.penalty(LOGITS, SPACES["darts"], t), parts[0] + parts[1])


# -- impossible settings --


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        *((name, {"warmup": 50, "epochs": 50}, "warmup: must be less than epochs") for name in ("darts", "da2s")),
        ("pcdarts", {"epochs": 15}, r"warmup: must be less than epochs \(15\), or nothing is learned \(got 15\)"),
        ("drnas", {"epochs": 10}, "warmup: must be less than epochs"),
        ("pdarts", {"epochs": 10}, r"warmup: must be less than epochs \(10\) \(got 10\)"),
        ("pdarts", {"cells": (5, 11)}, r"added_channels: must have 2 entries for 2 phases \(got 3\)"),
        ("pdarts", {"added_channels": (0, 0)}, r"added_channels: must have 3 entries for 3 phases \(got 2\)"),
        ("pdarts", {"skip_dropout": (0.0,)}, r"skip_dropout: must have 3 entries for 3 phases \(got 1\)"),
        ("pdarts", {"survivors": (5, 3, 2)}, r"survivors: must have 2 entries for 3 phases \(got 3\)"),
        ("pdarts", {"cells": (2, 11, 17)}, r"cells.0\n.*greater than or equal to 3"),
        ("pdarts", {"cells": ()}, "cells"),
        ("pdarts", {"skip_dropout": (0.0, 0.4, 1.5)}, "skip_dropout"),
        ("pdarts", {"added_channels": (0, 0, -1)}, "added_channels"),
        ("pdarts", {"most_skips": -1}, "most_skips"),
        ("da2s", {"kept_edges": 7}, "kept_edges"),
        ("darts", {"kept_edges": 14}, "kept_edges"),
        ("da2s", {"lambda_c": {"control": "sig"}}, "lambda_c.control"),
        ("da2s", {"lambda_c": {"factor": -1.0}}, "lambda_c.factor"),
        ("da2s", {"dead_node": "keep"}, "dead_node"),
        ("pcdarts", {"channel_divisor": 0}, "channel_divisor"),
        ("pcdarts", {"stem": "tiny"}, "stem"),
        ("fairdarts", {"threshold": 1.1}, "threshold"),
        ("gdas", {"last_temperature": 0.0}, "last_temperature"),
        ("gdas", {"draw": "hard"}, "draw"),
        ("sdarts", {"last_radius": -0.1}, "last_radius"),
        ("dartsplus", {"stop_at_skips": 0}, "stop_at_skips"),
        ("ecdarts", {"parse_on": "alpha"}, "parse_on"),
        ("random", {"samples": 0}, "samples"),
        ("darts", {"weights": {"lr": 0.01, "lr_min": 0.02}}, "lr_min: must be at most lr"),
        ("darts", {"weights": {"momentum": 1.0}}, "weights.momentum"),
        ("darts", {"architecture": {"clip": 0.0}}, "architecture.clip"),
        ("custom", {"discretize": {"rank": "edge"}}, "discretize.rank: edges cannot be ranked"),
        ("custom", {"penalty": {"entropy": {}}}, "penalty.entropy.lambda_2: there are no edge logits"),
        ("custom", {"penalty": {"zero_one": 1.0}}, "penalty.zero_one: .* needs relax.operations sigmoid"),
        (
            "custom",
            {"relax": {"operations": "sigmoid", "edges": "softmax"}, "penalty": {"entropy": {}}},
            "penalty.entropy: sigmoids",
        ),
        ("custom", {"phases": ()}, "phases"),
        ("custom", {"phases": ({"warmup": 50},)}, r"phases.0.warmup: must be less than its epochs \(50\) \(got 50\)"),
        ("custom", {"phases": ({"keep": 3},)}, "phases.0.keep: the last phase has no successor"),
        ("custom", {"phases": ({"cells": 2},)}, "phases.0.cells"),
        ("custom", {"phases": ({"skip_dropout": 0.1},), "arch_gradient": "unrolled"}, "phases.0.skip_dropout"),
        ("custom", {"passes": ()}, "passes: must be"),
        ("custom", {"passes": ("induced",)}, "passes: must be"),
        ("custom", {"passes": ("soft", "soft")}, "passes: must be"),
    ],
)
def test_impossible_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        REGISTRY[name].settings.model_validate(settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pdarts", {"survivors": (3, 5)}, "survivors: must fall from the space's 8 candidates to at least 2"),
        ("pdarts", {"survivors": (9, 3)}, "survivors: must fall from the space's 8 candidates to at least 2"),
        ("pdarts", {"survivors": (5, 1)}, "survivors: must fall from the space's 8 candidates to at least 2"),
        (
            "pdarts",
            {"none": False, "survivors": (8, 3)},
            "survivors: must fall from the space's 7 candidates to at least 2",
        ),
        ("custom", {"phases": ({"keep": 9}, {})}, r"phases.0.keep: must be from 2 to 8, .* \(got 9\)"),
        ("custom", {"phases": ({"keep": 3}, {"keep": 4}, {})}, r"phases.1.keep: must be from 2 to 3, .* \(got 4\)"),
        ("custom", {"none": False, "phases": ({"keep": 8}, {})}, r"phases.0.keep: must be from 2 to 7, .* \(got 8\)"),
    ],
)
def test_what_the_candidates_of_the_space_do_not_allow_is_refused(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        record(name, **settings)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_setting_that_no_method_knows_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        REGISTRY[name].settings.model_validate({"epoch": 3})
