"""The architectures to rank are different ones, and each is scored in the supernet that it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import pytest
import torch

from nascommon.gaps.architectures import Architecture, SavedSupernet, TooFewToRankError, from_epochs, sampled, scored
from nascommon.parts.discretizer import strongest_edges
from nascommon.search.state import SearchState
from nascommon.space.genotype import DARTS_KINDS, Genotype
from tests.search.small import SOME, double_state

SEP, SKIP, POOL, DILATED = (SOME.index(name) for name in ("sep_conv_3x3", "skip_connect", "max_pool_3x3",
                                                          "dil_conv_5x5"))  # fmt: skip


@cache
def favouring(candidate: int, strength: float = 3.0, nodes: int = 2) -> SearchState:
    """A search whose logits prefer one candidate on every edge."""
    state = double_state(nodes=nodes)
    for kind in DARTS_KINDS:
        with torch.no_grad():
            alpha_EO = state.logits[kind].named()["alpha_EO"]
            alpha_EO.zero_()
            alpha_EO[:, candidate] = strength
    return state


@dataclass
class Shelf:
    """Sources that note when they are opened."""

    opened: list[str] = field(default_factory=list)

    def source(self, name: str, candidate: int, accuracy: float | None = None) -> SavedSupernet:
        def open_it() -> SearchState:
            self.opened.append(name)
            return favouring(candidate)

        return SavedSupernet(name, accuracy, open_it)

    def sources(self, *candidates: int) -> list[SavedSupernet]:
        return [self.source(f"epoch {number}", candidate) for number, candidate in enumerate(candidates)]


def only_operation(genotype: Genotype) -> str:
    (name,) = {choice.operation for kind in DARTS_KINDS for node in genotype[kind].nodes for choice in node}
    return name


def test_a_genotype_seen_twice_counts_once_at_its_latest_epoch() -> None:
    found = from_epochs(Shelf().sources(SKIP, SEP, SKIP, POOL, SEP), count=10)
    assert [architecture.name for architecture in found] == ["epoch 2", "epoch 3", "epoch 4"]
    names = ["skip_connect", "max_pool_3x3", "sep_conv_3x3"]
    assert [only_operation(architecture.genotype) for architecture in found] == names
    assert all(architecture.source.name == architecture.name for architecture in found)


def test_genotypes_are_those_of_the_method() -> None:
    state = favouring(SEP)
    (first, *_) = from_epochs(Shelf().sources(SEP, SKIP, POOL), count=3)
    assert first.genotype == strongest_edges(state.mixing(), state.spec.space)


def test_more_genotypes_than_wanted_leave_the_latest() -> None:
    found = from_epochs(Shelf().sources(SKIP, SEP, POOL, DILATED), count=3)
    assert [architecture.name for architecture in found] == ["epoch 1", "epoch 2", "epoch 3"]


@pytest.mark.parametrize("candidates", [(), (SEP,), (SEP, SKIP, SEP, SKIP)])
def test_fewer_than_three_genotypes_are_too_few_with_a_way_out(candidates: tuple[int, ...]) -> None:
    message = f"the {len(candidates)} snapshots .* only {len(set(candidates))} different genotypes?, .*source: sampled"
    with pytest.raises(TooFewToRankError, match=message) as too_few:
        from_epochs(Shelf().sources(*candidates), count=10)
    assert too_few.value.found == len(set(candidates))


def test_sampled_architectures_are_different_and_depend_on_the_seed_alone() -> None:
    shelf = Shelf()
    source = shelf.source("last", SEP)
    found = sampled(source, 12, seed=1)
    assert shelf.opened == ["last"]
    assert len({architecture.genotype for architecture in found}) == len(found) == 12
    assert [architecture.name for architecture in found] == [f"sample {number}" for number in range(12)]
    assert sampled(source, 12, seed=1) == found
    assert sampled(source, 5, seed=1) == found[:5]
    assert sampled(source, 12, seed=2) != found


def test_sampling_prefers_what_weighs_most() -> None:
    found = sampled(Shelf().source("last", SEP), 30, seed=0)
    operations = [c.operation for a in found for kind in DARTS_KINDS for node in a.genotype[kind].nodes for c in node]
    assert operations.count("sep_conv_3x3") > len(operations) / 2
    assert set(operations) == set(SOME) - {"none"}


def test_one_hot_mixing_weights_leave_too_few_with_a_way_out() -> None:
    sharp = SavedSupernet("last", None, lambda: favouring(SEP, strength=500.0, nodes=1))
    with pytest.raises(
        TooFewToRankError, match=r"nearly one-hot, only 1 different genotype came up, .*source: epochs"
    ) as too_few:
        sampled(sharp, 5, seed=0)
    assert too_few.value.found == 1


def architectures(*sources: SavedSupernet) -> list[Architecture]:
    genotype = strongest_edges(favouring(SEP).mixing(), favouring(SEP).spec.space)
    return [Architecture(f"architecture {number}", genotype, source) for number, source in enumerate(sources)]


def test_scoring_opens_a_supernet_once_and_scores_in_the_right_one() -> None:
    shelf = Shelf()
    one, other = shelf.source("one", SEP), shelf.source("other", SKIP)
    seen: list[tuple[SearchState, Genotype]] = []

    def score(state: SearchState, genotype: Genotype) -> float:
        seen.append((state, genotype))
        return len(seen) / 10

    wanted = architectures(one, one, one, other, other)
    result = scored(wanted, score)
    assert shelf.opened == ["one", "other"]
    assert [architecture.search_score for architecture in result] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [state is favouring(SEP) for state, _ in seen] == [True, True, True, False, False]
    assert [genotype for _, genotype in seen] == [architecture.genotype for architecture in wanted]
    assert [architecture.name for architecture in result] == [architecture.name for architecture in wanted]


def test_without_a_score_the_supernets_own_accuracy_counts_and_none_is_opened() -> None:
    shelf = Shelf()
    sources = [shelf.source("a", SEP, 0.25), shelf.source("b", SKIP, 0.5), shelf.source("c", POOL)]
    result = scored(architectures(*sources), None)
    assert [architecture.search_score for architecture in result] == [0.25, 0.5, None]
    assert shelf.opened == []
