"""The files of a made-up run, as its stages would leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nascommon.report.page.files import Files
from nascommon.space.published import PUBLISHED
from nascommon.statistics.ranking import trajectory
from tests.report.results import results

OPERATIONS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
GENOTYPE = PUBLISHED["DARTS_V2"]
EDGES = [(source, node) for node in range(2, 6) for source in range(node)]
PARTS = ("weights", "architecture", "test")
WARNING = "2 of 8 edges are <b>skips</b>"
BIRTH = {"command": "python -m stages.search", "method": "darts", "commit": "abc", "seed": 0, "hardware": "a computer",
         "precision": "float32", "torch": "2"}  # fmt: skip


def write(root: Path, path: str, content: Any) -> None:
    """Write a file of the run."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pd.DataFrame):
        content.to_parquet(file) if file.suffix == ".parquet" else content.to_csv(file, index=False)
    else:
        file.write_text(json.dumps(content), encoding="utf-8")


def made_up(root: Path, *, epochs: int = 5, architectures: int = 8, classes: tuple[str, ...] = ("cat", "dog"),
            **other: Any) -> Files:  # fmt: skip
    """Write a run with all that a page can show.

    Args:
        root: folder of the run.
        epochs: of the search.
        architectures: that are ranked.
        classes: names of them.
        other: keys of the results that differ.
    """
    random = [90 + 0.05 * i for i in range(100)]
    found = results(random=random, accuracies=(0.93, 0.94), **{
        "title": "a run", "settings": [{"key": "search.channels", "here": "4", "default": "16"}], **other,
    })  # fmt: skip
    write(root, "data/evaluate/results.json", found)
    row = {"whose": "ours", "what": "darts, searched and retrained", "data set": "digits", "test error %": 6.5,
           "95 % low": 5.0, "95 % high": 8.0, "note": ""}  # fmt: skip
    rule = {"rule": "Seeds are reported", "source": "a paper", "verdict": "kept", "evidence": "one seed", "advice": ""}
    write(root, "data/evaluate/protocol.json", [rule])
    write(root, "data/evaluate/table.json", [row] if found["accuracies"] else [])
    write(root, "data/evaluate/gaps.csv", pd.DataFrame([{"method": "darts", "gap": "9.0 [5.0, 13.0]"}]))
    write(root, "data/evaluate/random.csv", pd.DataFrame({"source": "a bank", "accuracy": np.array(random) / 100}))
    manifest = {"source": "digits", "classes": classes, "height": 8, "width": 8, "channels": 1,
                "content_hash": "f" * 64,
                "counts": {part: dict.fromkeys(classes, 50) for part in PARTS}}  # fmt: skip
    write(root, "data/prepared/target/manifest.json", manifest)
    write(root, "data/discretize/genotype.json", GENOTYPE.to_json())
    write(root, "data/discretize/discretize.json", {"provenance": BIRTH})
    write(root, "data/retrain/network.json", {"provenance": BIRTH})
    write(root, "data/search/search.json", BIRTH)
    _write_search(root, epochs)
    _write_ranking(root, architectures)
    return Files(root)


def _write_search(root: Path, epochs: int) -> None:
    draw = np.random.default_rng(0)
    rows = [(epoch, 0, kind, number, *edge, operation)
            for epoch in range(epochs) for kind in GENOTYPE for number, edge in enumerate(EDGES)
            for operation in OPERATIONS]  # fmt: skip
    columns = ["epoch", "phase", "cell", "edge", "source", "node", "operation"]
    architecture = pd.DataFrame(rows, columns=columns).assign(alpha=0.0, weight=draw.random(len(rows)))
    write(root, "data/search/architecture.parquet", architecture)
    history = pd.DataFrame({
        "epoch": range(epochs), "train_accuracy": 0.5, "valid_accuracy": np.linspace(0.1, 0.9, epochs),
        "skips_normal": 1, "skips_reduction": 0, "entropy_normal": 1.5, "entropy_reduction": 1.4, "watch_gap": 0.2,
        "watch_eigenvalue": 0.1,
        "genotype": json.dumps(GENOTYPE.to_json()), "warnings": ["", WARNING, *[""] * (epochs - 2)],
    })  # fmt: skip
    write(root, "data/search/history.parquet", history)
    for stage in ("search", "retrain", "transfer"):
        write(root, f"data/plots/{stage}.csv", history[["epoch", "train_accuracy", "valid_accuracy"]])


def _write_ranking(root: Path, architectures: int) -> None:
    draw = np.random.default_rng(1)
    known = {"protocol": "trained by a friend", "kind": "bank"}
    ranking = {
        "mode": "single_run",
        "search_score": "inherited_val",
        "known": known,
        "ranking": {},
        "provenance": BIRTH,
    }
    write(root, "data/kendall_tau/ranking.json", ranking)
    pairs = pd.DataFrame({"architecture": [f"known {i}" for i in range(architectures)], "known": 0.93})
    scores = {name: draw.uniform(0.8, 0.95, architectures) for name in ("search_score", "known_0", "known_1")}
    write(root, "data/kendall_tau/architectures.csv", pairs.assign(**scores))
    course = trajectory(draw.random((2, 20)), draw.random(20), epochs=[1, 3])
    write(root, "data/kendall_tau/trajectory.csv", course)
