"""A few real steps of every stage at the size of the papers, on real CIFAR-10 and ImageNet pictures."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from nascommon.config import load_params
from stages import discretize, evaluate, inventory, kendall_tau, prepare, retrain, search, transfer

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared pictures are not here"),
]


def few_steps(folder: Path) -> dict[str, Any]:
    """Return the cifar10 preset with full-size models, few images, few epochs and small batches."""
    params = load_params(ROOT / "presets" / "cifar10.yaml").model_dump(mode="json")
    params |= {"tracking": "none", "device": "cpu"}
    params["data"] |= {"path": str(folder / "cifar"), "limit": 32}
    params["search"]["snapshots"] = 1
    params["methods"]["darts"] |= {"epochs": 1, "batch_size": 8}
    params["search"]["watch_every"] = 1
    params["discretize"] |= {"calibration_batches": 1, "batch_size": 8, "worth_images": 0}
    params["retrain"]["training"] |= {"epochs": 1, "batch_size": 16}
    params["transfer"]["data"] |= {"path": str(folder / "imagenette"), "limit": 20, "workers": 1}
    params["transfer"]["training"] |= {"epochs": 1, "batch_size": 8}
    params["kendall_tau"] |= {"architectures": 3, "source": "sampled", "search_score": "inherited_val"}
    params["kendall_tau"] |= {"calibration_batches": 1, "retest": False, "deep_network": None}
    params["kendall_tau"]["training"] |= {"epochs": 1, "batch_size": 8}
    params["evaluate"]["batch_size"] = 8
    return params


def test_every_stage_takes_real_steps_at_the_papers_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, SHARED / "cifar10" / "restore_cifar10.py", tmp_path / "cifar"], check=True)
    with tarfile.open(SHARED / "imagenet" / "imagenette_224_train200_val50.tar") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(tmp_path, filter="data")
        else:  # Python 3.11 before 3.11.4
            archive.extractall(tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(few_steps(tmp_path)))
    monkeypatch.chdir(tmp_path)
    for stage in (inventory, prepare, search, discretize, retrain, transfer, kendall_tau):
        stage.main(params)
    (tmp_path / "data/baseline").mkdir()
    (tmp_path / "data/metrics/baseline.json").write_text('{"architectures": 0, "train_seconds": 0}')
    evaluate.main(params)

    summary = json.loads((tmp_path / "data/search/search.json").read_text())
    assert (summary["final"]["channels"], summary["final"]["cells"]) == (16, 8)
    for name, cells, channels in (("retrain", 20, 36), ("transfer", 14, 48)):
        spec = json.loads((tmp_path / f"data/{name}/network.json").read_text())["spec"]
        assert (spec["cells"], spec["channels"], spec["auxiliary"]) == (cells, channels, True)
    results = json.loads((tmp_path / "data/evaluate/results.json").read_text())
    assert results["comparisons"][0]["n"] == 214
