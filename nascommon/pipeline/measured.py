"""How good a network is that is given away: what was measured of this very training, and what of its kind."""

from __future__ import annotations

from typing import Any

from nascommon.export.trained import TrainedNetwork
from nascommon.pipeline.paths import EVALUATE
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.progress import percent

RESULTS = EVALUATE / "results.json"
TESTED = {"retrain": "test_images", "transfer": "transfer_test_images"}
"""Metric of the number of test pictures, by the stage that trained."""


def accuracy(trained: TrainedNetwork) -> dict[str, Any] | None:
    """Return the accuracy on the test pictures if data/evaluate is of this training, else on held-out ones.

    Beside its ``value`` stands what it was measured ``on``, and on how many pictures, ``n``; None where an earlier
    version did not note that.
    """
    if tested := _tested(trained):
        n = read_json(RESULTS)["metrics"].get(TESTED[trained.stage])
        return {"value": tested[0], "on": "test pictures", "n": n}
    return trained.held_out_accuracy


def in_words(trained: TrainedNetwork) -> str:
    """Say how good the network is; of several trainings, that it is the first, and what all reach on average."""
    known, tested = accuracy(trained), _tested(trained)
    if known is None:
        return "not measured"
    said = f"{percent(known['value'])} on {known['on']}"
    if known["n"] is not None:
        said += f", n = {known['n']:,.0f}"
    if len(tested) == 1 or not tested:
        return said
    return f"{said} (the first of {len(tested)} trainings, whose mean is {percent(sum(tested) / len(tested))})"


def _tested(trained: TrainedNetwork) -> list[float]:
    """Return what ``evaluate`` measured of this training, known by its last loss, and of those beside it."""
    if not RESULTS.is_file():
        return []
    results = read_json(RESULTS)
    told = results["stages"].get(trained.stage, {})
    if told.get("train_loss_0", told.get("train_loss")) != trained.record.metrics["train_loss"]:
        return []
    if trained.stage == "retrain":
        return [float(value) for value in results["accuracies"]]
    error = results["metrics"]["transfer_error_percent"]
    return [] if error is None else [1 - error / 100]
