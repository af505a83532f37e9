"""A trained network survives its files, and a broken or foreign one is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nascommon.settings import UserError
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.artefact import load_network, save_network
from tests.search.small import CPU, equal
from tests.spoilt import spoilt_trees

GENOTYPE = PUBLISHED["DARTS_V2"]


@pytest.fixture
def saved(tmp_path: Path) -> Network:
    network = Network(GENOTYPE, NetworkSpec(2, 3, 7, "imagenet", 1))
    network(torch.randn(2, 1, 32, 32))  # statistics other than 0 and 1
    save_network(tmp_path, network, GENOTYPE, seed=3, metrics={"params": 3})
    return network


def test_weights_statistics_size_and_genotype_come_back(saved: Network, tmp_path: Path) -> None:
    network, genotype, metrics = load_network(tmp_path, CPU, "retrain")
    assert equal(network.state_dict(), saved.state_dict())
    assert network.spec == saved.spec
    assert genotype == GENOTYPE
    assert metrics == {"params": 3}
    assert not network.training
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(network(image), saved.eval()(image))


def test_a_missing_file_is_named(saved: Network, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"network\.json: no such file"):
        load_network(tmp_path / "elsewhere", CPU, "retrain")
    (tmp_path / "network.safetensors").unlink()
    with pytest.raises(UserError, match=r"network\.safetensors: no such file"):
        load_network(tmp_path, CPU, "retrain")


def test_a_torn_file_is_named(saved: Network, tmp_path: Path) -> None:
    weights = tmp_path / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"network\.safetensors: not a whole safetensors file"):
        load_network(tmp_path, CPU, "retrain")


@pytest.mark.parametrize("key", ["spec", "genotype"])
def test_a_description_without_its_parts_is_refused(saved: Network, tmp_path: Path, key: str) -> None:
    path = tmp_path / "network.json"
    description = json.loads(path.read_text())
    del description[key]
    path.write_text(json.dumps(description))
    with pytest.raises(UserError, match=rf"network\.json: {key} is missing; `dvc repro retrain` makes it anew"):
        load_network(tmp_path, CPU, "retrain")


def test_weights_of_another_size_are_refused(saved: Network, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    description = json.loads(path.read_text())
    description["spec"]["channels"] = 4
    path.write_text(json.dumps(description))
    with pytest.raises(
        UserError, match=r"network\.json: does not fit its weights; `dvc repro retrain` makes it anew"
    ) as caught:
        load_network(tmp_path, CPU, "retrain")
    assert "\n" not in str(caught.value)  # one sentence, not torch's list of every tensor


def test_a_description_of_another_version_is_refused(saved: Network, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(UserError, match="schema"):
        load_network(tmp_path, CPU, "retrain")


def test_whatever_value_is_changed_by_hand_it_is_read_or_refused_on_one_line(saved: Network, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    tree = json.loads(path.read_text())
    read, refused = 0, []
    for spoilt in spoilt_trees(tree, skip=frozenset({"seed", "metrics"})):
        path.write_text(json.dumps(spoilt))
        try:
            load_network(tmp_path, CPU, "retrain")
            read += 1
        except UserError as error:
            refused.append(str(error))
    assert [text for text in refused if "\n" in text or len(text) > 400] == []
    assert len(refused) > 10 * read
