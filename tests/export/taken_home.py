"""Trained networks without a training, and processes that know nothing of this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascommon.export.trained import TrainedNetwork, load_trained
from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec, build_network
from nascommon.training.artefact import save_network

CLASSES = ("an ant", 'a "bee"', "日本")
ABSENT = ("nascommon", "stages", "safetensors", "torchvision", "PIL")


def train(
    folder: Path, genotype: Genotype, spec: NetworkSpec, stage: str = "retrain", seed: int = 0, **pictures: Any
) -> TrainedNetwork:
    """Write what a stage would leave: a network whose weights and statistics are random, and tell on its pictures."""
    torch.manual_seed(seed)
    spec = replace(spec, classes=len(CLASSES))
    network = build_network(genotype, spec)
    side = 32 if spec.stem == "imagenet" else 8
    for _ in range(2):
        network(3 * torch.randn(8, spec.image_channels, side, side))  # statistics that are not 0 and 1
    with torch.no_grad():
        network.classifier.weight.mul_(8)  # answers that are far from uniform
    told = {
        "source": "image_folder", "classes": CLASSES, "channels": spec.image_channels, "height": side, "width": side,
        "fit": "crop", "storage": "memory", "mean": [0.4] * spec.image_channels, "std": [0.2] * spec.image_channels,
        "content_hash": "c0ffee",
    }  # fmt: skip
    save_network(
        folder, network, genotype, pictures=told | pictures, provenance={"method": "darts", "seed": seed},
        metrics={"train_loss": 0.5, "valid_accuracy": 0.75, "valid_images": 40},
    )  # fmt: skip
    return load_trained(folder, stage)


def batches(channels: int) -> list[Tensor]:
    """Pictures of several numbers and sizes."""
    draws = torch.Generator().manual_seed(5)
    shapes = ((1, 8, 8), (4, 33, 20), (2, 7, 64))
    return [torch.randint(256, (n, channels, h, w), generator=draws, dtype=torch.uint8) for n, h, w in shapes]


def elsewhere(script: str, folder: Path, *absent: str, only: Collection[str] = ABSENT) -> Any:
    """Run a script in ``folder`` by a Python that finds neither this package nor the tools that it uses.

    Args:
        script: what it runs.
        folder: where it runs, and finds modules.
        absent: what else it shall not find.
        only: instead of the tools.

    Returns:
        What it prints, read as JSON.
    """
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({[*only, *absent]}))\nsys.path.insert(0, '.')\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", blocked + script], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
