"""One recording serves all epochs of a phase: it knows the numbers of its own epoch, and reads those of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.images import CLASSES, random_part
from nascommon.data.batches import training_batches
from nascommon.data.settings import Augment
from nascommon.method import ArchOptimiser, Method
from nascommon.parts.choices import Sample
from nascommon.parts.control import between
from nascommon.parts.logits import Logits
from nascommon.parts.sampling import gumbel
from nascommon.runtime import dial, optimisers
from nascommon.runtime.steps import finished
from nascommon.search import state
from nascommon.search.loop import run_search
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import training_steps
from nascommon.training.settings import TrainingSettings
from tests.gpu.conftest import stand_in
from tests.gpu.small import BATCH, base_spec, search_data
from tests.methods.smoke import smoke_method
from tests.runtime.traced import Traced
from tests.search.small import CPU
from tests.space.gpu import as_on_a_gpu

EPOCHS = 4


class Counted(Traced):
    made = 0

    def __init__(self, step, inputs) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        type(self).made += 1
        super().__init__(step, inputs)


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    Counted.made = 0

    def plain_descent(settings: ArchOptimiser, logits: Logits, _device: torch.device) -> torch.optim.Optimizer:
        # Adam counts its steps on the device on a GPU only.
        groups = [{"params": [tensor], "name": name} for name, tensor in logits.named().items()]
        return torch.optim.SGD(groups, lr=settings.lr)

    monkeypatch.setattr(state, "arch_optimiser", plain_descent)


def method_of(name: str) -> Method:
    """Return a method that learns its architecture from the first epoch of its only phase on."""
    method = smoke_method("darts" if name == "gumbel" else name)
    if name == "gumbel":
        method = replace(method, sample=Sample(gumbel(between(2.0, 0.5))))
    dropout = 0.6 if name == "pdarts" else 0.0
    phase = replace(method.phases[0], epochs=EPOCHS, warmup=0, keep=None, skip_dropout=dropout)
    return replace(method, phases=(phase,))


def searched(method: Method) -> dict[str, torch.Tensor]:
    found = run_search(method, base_spec(method), search_data(CPU), seed=0, device=CPU).state
    return {**found.supernet.state_dict(), **found.logits.named()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("sdarts", "dartsminus", "da2s")]


@pytest.mark.parametrize("name", ["pdarts", "gumbel", *OTHERS])
def test_a_search_ends_where_eager_steps_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rates, skip dropout, reach of noise, temperature, strength of the skip and penalties that change."""
    method = method_of(name)
    eager = searched(method)
    stand_in(monkeypatch, Counted)
    assert same(searched(method), eager)
    assert Counted.made == (2 if name == "da2s" else 1)  # DA2S holds its alphas still at first


def test_numbers_that_python_keeps_would_be_those_of_the_first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    method = method_of("sdarts")
    for module in (dial, optimisers, state):
        monkeypatch.setattr(module, "keeps_numbers", lambda _: False)
    eager = searched(method)
    stand_in(monkeypatch, Counted)
    assert not same(searched(method), eager)


def test_so_does_a_training_with_drop_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> dict[str, torch.Tensor]:
        part = random_part(4 * BATCH, side=8)
        batches = training_batches(part, BATCH, Augment(), seed=0, device=CPU, cutout=2)
        settings = TrainingSettings(epochs=EPOCHS, drop_path=0.6)
        spec = NetworkSpec(4, 3, CLASSES, auxiliary=False)
        steps = training_steps(PUBLISHED["DARTS_V2"], spec, settings, batches, seed=0, device=CPU)
        return finished(steps).network.state_dict()

    eager = trained()
    stand_in(monkeypatch, Counted)
    assert same(trained(), eager)
    assert Counted.made == 2  # paths are dropped from the second epoch on
