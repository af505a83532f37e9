"""The settings that are shipped, and the least that must be said."""

from __future__ import annotations

from pathlib import Path

from nascommon.config import Params, load_params

ROOT = Path(__file__).parents[1]
PRESETS = {path.stem: path for path in [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]}
SHIPPED = {"params", "smoke", "cifar10", "imagenet", "own-pictures", "nasbench201", "nasbench201-cpu"}
LEAST = """seed: 0
precision: auto
data: {source: digits}
search: {method: darts, nodes: 4}
methods: {darts: {}}
discretize: {}
retrain: {}
transfer: {data: null}
kendall_tau: {}
baseline: {}
evaluate: {}
"""


def loaded(folder: Path, text: str) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path)
