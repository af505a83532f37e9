"""The halves of CIFAR-10 are the benchmark's, whole, and a preparation takes them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nascommon.data.benchmark_split import FILE, read_halves
from nascommon.data.prepared import Prepared
from nascommon.data.samples import Pixels
from nascommon.runtime.artefacts import read_json
from nascommon.settings import UserError

LABELS = Path(__file__).parents[3] / "shared" / "data" / "cifar10" / "meta.json.gz"
HALF = 25_000
Make = Callable[..., Prepared]


def test_the_halves_are_equal_disjoint_and_complete() -> None:
    halves = read_halves()
    assert [len(half) for half in halves] == [HALF, HALF]
    assert torch.equal(torch.cat(halves).sort().values, torch.arange(2 * HALF))
    assert all(torch.equal(half, half.sort().values) for half in halves)


def test_the_training_half_is_that_of_the_published_list() -> None:
    trains, validates = (half.tolist() for half in read_halves())
    assert trains[:10] == [0, 5, 7, 11, 13, 15, 16, 17, 20, 24]
    assert trains[-3:] == [49990, 49992, 49994]
    assert validates[:5] == [1, 2, 3, 4, 6]


@pytest.mark.skipif(not LABELS.is_file(), reason="the shared CIFAR-10 labels are not here")
def test_the_classes_are_divided_as_chance_had_it() -> None:
    meta = json.loads(gzip.decompress(LABELS.read_bytes()))
    labels = torch.tensor([int(label) for batch in range(1, 6) for label in meta[f"data_batch_{batch}"]["labels"]])
    trains, validates = (torch.bincount(labels[half]) for half in read_halves())
    assert trains.tolist() == [2478, 2512, 2533, 2508, 2491, 2460, 2572, 2511, 2516, 2419]
    assert (trains + validates).tolist() == [5000] * 10


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", FILE.read_bytes()[:-1]])
def test_a_torn_or_wrong_file_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "halves.bin"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"halves\.bin: torn or changed: its SHA-256 must be 2d94ac040ba5") as error:
        read_halves(file)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"halves\.bin: cannot be read .*install the package again"):
        read_halves(tmp_path / "halves.bin")


@pytest.fixture
def cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many training pictures as CIFAR-10 has, of one pixel each, no two alike."""
    numbers = torch.arange(2 * HALF + 100)
    pixels = torch.stack([numbers // 65_536, numbers // 256 % 256, numbers % 256], dim=1).to(torch.uint8)[
        :, :, None, None
    ]
    every = Pixels(pixels, numbers % 10)
    train, test = every.take(numbers[: 2 * HALF]), every.take(numbers[2 * HALF :])
    monkeypatch.setattr("nascommon.data.cifar.read_cifar", lambda settings: (tuple("abcdefghij"), train, test))


@pytest.mark.usefixtures("cifar10")
def test_a_preparation_takes_the_halves_whatever_the_seed_and_its_hash_follows(make: Make) -> None:
    ours, again, stratified = (
        make(source="cifar10", seed=seed, split=split)
        for seed, split in ((0, "nasbench201"), (1, "nasbench201"), (0, "stratified"))
    )
    weights, architecture = (half.tolist() for half in read_halves())
    assert read_json(ours.folder / "split.json") == {"weights": weights, "architecture": architecture}
    assert len(ours.part("weights")) == len(ours.part("architecture")) == HALF
    assert sum(ours.manifest.counts["weights"].values()) == HALF
    assert ours.manifest.content_hash == again.manifest.content_hash != stratified.manifest.content_hash
