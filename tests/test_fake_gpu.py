"""On a GPU nothing is left on the CPU: supernets, networks, pictures and scores, on tensors without values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from benchmarks.images import random_part
from nascommon.data import augment as on_device
from nascommon.data.batch import Batch
from nascommon.data.batches import evaluation_batches, training_batches
from nascommon.data.jitter import ADJUSTMENTS, jitter
from nascommon.data.prepared import Part
from nascommon.data.settings import Augment
from nascommon.gaps.discretization import hits, kept_mixing, weighted_mixing
from nascommon.gaps.operation import without_candidate
from nascommon.parts.choices import Use
from nascommon.search.choose import inherited_accuracy
from nascommon.search.scores import supernet_scores
from nascommon.search.state import SearchState, new_state
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import DARTS_KINDS
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.published import PUBLISHED
from nascommon.space.stem import Stem
from nascommon.training.loop import network_scores, predict
from tests.fake_gpu import GPU, devices, fake_gpu, moved
from tests.methods.smoke import each_method, smoke_method, smoke_spec
from tests.search.small import CLASSES

BATCH = 5
USES: tuple[Use, ...] = ("weights", "architecture", "evaluation")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    with fake_gpu(monkeypatch, [0, 1, 2, 3]) as device:  # four different choices of a sampler
        yield device


def images(device: torch.device, side: int = 8) -> Batch:
    pictures = torch.randn(BATCH, 3, side, side, device=device)
    return Batch(pictures, torch.randint(CLASSES, (BATCH,), device=device))


def state_of(name: str, device: torch.device, precision: Precision = "float32") -> SearchState:
    method = smoke_method(name)
    return new_state(method, replace(smoke_spec(method), precision=precision), seed=0, phase=0, device=device)


def test_a_tensor_left_on_the_cpu_is_found(gpu: torch.device) -> None:
    with pytest.raises(RuntimeError, match="cuda:0"):
        torch.zeros(3, device=gpu) + torch.zeros(3)


@pytest.mark.parametrize("name", each_method())
def test_the_supernet_of_every_method_in_training(name: str, gpu: torch.device) -> None:
    state = state_of(name, gpu, "bfloat16")
    state.supernet.train().set_skip_dropout(0.3)
    drawn = [state.draw(use) for use in USES]
    out = state.supernet(images(gpu).images, drawn[0])
    parts = [state.state_dict(), *(vars(mixing[kind]) for mixing in drawn for kind in DARTS_KINDS), out,
             state.method.penalty(state.logits, state.spec.space, 0.5)]  # fmt: skip
    assert devices(parts) == {"cuda"}
    assert out.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("name", each_method())
def test_the_supernet_of_every_method_is_scored(name: str, gpu: torch.device) -> None:
    state = state_of(name, gpu)
    mixing = state.scored()
    supernet_scores(state.supernet, mixing, [images(gpu)])
    assert devices(vars(without_candidate(mixing, "normal", 0, 1)["normal"])) == {"cuda"}


def test_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    method = smoke_method("darts")
    genotype = random_genotype(smoke_spec(method).space)
    with fake_gpu(monkeypatch, [1]) as gpu:
        state, batch = state_of("darts", gpu), images(gpu)
        inherited_accuracy(state, genotype, [batch], [batch])
        assert devices(vars(kept_mixing(state, genotype)["normal"])) == {"cuda"}
        assert devices(hits(state, weighted_mixing(state, genotype), [batch], [batch])) == {"cpu"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_network_in_training(name: str, gpu: torch.device) -> None:
    network = Network(PUBLISHED[name], NetworkSpec(4, 3, CLASSES, precision="bfloat16"))
    moved(network, gpu, torch.channels_last)
    network.drop_probability = 0.2
    outs = network.train().forward_auxiliary(images(gpu, 32).images)
    assert all(out is not None and out.is_cuda and out.dtype == torch.float32 for out in outs)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_a_network_is_scored(stem: Stem, gpu: torch.device) -> None:
    network = Network(PUBLISHED["DARTS_V2"], NetworkSpec(4, 3, CLASSES, stem=stem))
    moved(network, gpu, torch.channels_last)
    batches = evaluation_batches(random_part(BATCH, side=32), BATCH, device=gpu)
    network_scores(network, batches)
    assert devices(predict(network, batches)) == {"cpu"}


# -- pictures --


def part(side: int = 8) -> Part:
    return random_part(3 * BATCH, side=side)


@pytest.mark.parametrize("clean", [False, True])
def test_augmented_pictures_and_labels(clean: bool, gpu: torch.device) -> None:
    augment = Augment(crop_padding=2, flip=True)
    made = list(training_batches(part(), BATCH, augment, seed=0, device=gpu, cutout=4, clean=clean).epoch(0))
    assert len(made) == 3
    assert devices(made) == {"cuda"}
    assert {tuple(images.shape) for images, _ in made} == {(BATCH, 3, 8, 8)}


def test_pictures_of_evaluation(gpu: torch.device) -> None:
    assert devices(list(evaluation_batches(part(), BATCH, device=gpu).epoch(0))) == {"cuda"}


@pytest.mark.parametrize("channels", [1, 3])
def test_streamed_pictures_whose_colours_vary(
    channels: int, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their steps stay on the host, where they are counted; without values each adjustment has one picture."""
    counted = SimpleNamespace(tolist=lambda: [1] * len(ADJUSTMENTS))
    monkeypatch.setattr(Tensor, "bincount", lambda _steps, minlength: counted)
    steps = torch.empty(len(ADJUSTMENTS), 2, 2)
    pixels = torch.empty(len(ADJUSTMENTS), channels, 8, 8, dtype=torch.uint8, device=gpu)
    jittered = jitter(pixels, steps)
    normal = on_device.normaliser([0.5] * channels, [0.2] * channels, GPU)(jittered)
    centres = torch.randint(8, (len(pixels), 2), device=gpu)
    assert devices(on_device.cutout(normal, centres, 4)) == {"cuda"}
