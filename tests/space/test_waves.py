"""What a GPU computes in waves is what the operations of a stand-alone network compute one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from nascommon.runtime.together import joined
from nascommon.search.scores import fresh_statistics
from nascommon.space import network as module
from nascommon.space.genotype import Genotype
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.operations import OPERATIONS
from nascommon.space.published import PUBLISHED
from tests.space.gpu import as_on_a_gpu
from tests.space.kinds import two
from tests.space.strategies import random_cell

REAL = tuple(name for name in OPERATIONS if name not in ("none", "noise") and not name.startswith("nor_conv"))


def drawn(seed: int) -> Genotype:
    """Return cells of other operations on every edge, up to three a node."""
    rng = random.Random(seed)
    edges = [[(source, REAL) for source in range(state)] for state in range(2, 5)]
    return two(Genotype, *(random_cell(rng, edges, 3) for _ in range(2)))


GENOTYPES = {
    **{name: PUBLISHED[name] for name in ("DARTS_V1", "DARTS_V2", "PDARTS")},
    "drawn": drawn(0),
    "other": drawn(3),
}
Found = dict[str, Tensor]


def images(seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=draws).contiguous(memory_format=torch.channels_last)


def network_of(genotype: Genotype, drop: float = 0.0) -> Network:
    torch.manual_seed(0)
    made = Network(genotype, NetworkSpec(4, 4, auxiliary=False)).double().train()
    for name, weight in made.named_parameters():
        if weight.dim() == 1:  # gains and shifts as after some training
            weight.data = torch.rand(weight.shape, dtype=torch.float64) + ("bias" not in name) * 0.5
    made.drop_probability = drop
    return made


def found(network: Network) -> Found:
    logits = network(images())
    (logits * torch.arange(30.0, dtype=torch.float64).view(3, 10).sin()).sum().backward()
    gradients = {f"gradient of {name}": weight.grad for name, weight in network.named_parameters()}
    return {
        "logits": logits,
        **{name: each for name, each in gradients.items() if each is not None},
        **statistics(network),
    }


def statistics(network: Network) -> Found:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def close(mine: Found, other: Found) -> None:
    assert mine.keys() == other.keys()
    for name, expected in other.items():
        torch.testing.assert_close(mine[name], expected, rtol=1e-8, atol=1e-9, msg=name)


@pytest.fixture
def the_same_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both ways draw the same factors, as if the paths were drawn one by one."""

    def factors(like_B: Tensor, _: object, paths: int) -> Tensor:
        draws = torch.Generator().manual_seed(5)
        return torch.rand(paths, len(like_B), 1, 1, 1, dtype=like_B.dtype, generator=draws).round() * 2

    def one_by_one(like_B: Tensor, probability: float, paths: int) -> Iterator[Tensor]:
        return iter(factors(like_B, probability, paths))

    monkeypatch.setattr(module, "drawn_paths", factors)
    monkeypatch.setattr(module, "kept_paths", one_by_one)


@pytest.mark.usefixtures("the_same_paths")
@pytest.mark.parametrize("name", GENOTYPES)
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_outputs_gradients_and_statistics_are_those_of_single_operations(
    name: str, drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "draws_at_once", lambda _: True)
    plain = found(network_of(GENOTYPES[name], drop))
    as_on_a_gpu(monkeypatch)
    close(found(network_of(GENOTYPES[name], drop)), plain)
    network = network_of(GENOTYPES[name], drop)
    network.lay_together()
    close(found(network), plain)
    (plan,) = network._plans.values()
    parameters = [each for alike in plan.parameters for each in alike]
    slopes = [each.grad for each in parameters if each.grad is not None]
    assert len(joined(parameters, slopes)[0]) == 1


def test_recalibration_averages_the_batches_that_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for on_a_gpu in (False, True):
        if on_a_gpu:
            as_on_a_gpu(monkeypatch)
        network = network_of(GENOTYPES["DARTS_V2"])
        with fresh_statistics(network), torch.no_grad():
            for step in range(3):
                network(images(step))
            seen.append(statistics(network))
    close(*seen)


def test_what_is_gathered_is_what_the_weights_are_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    network = network_of(GENOTYPES["DARTS_V2"])
    network(images())
    (plan,) = network._plans.values()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.5)
    again, fresh = network(images()), network_of(GENOTYPES["DARTS_V2"])
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(again, fresh(images()))
    assert [*network._plans.values()] == [plan]
