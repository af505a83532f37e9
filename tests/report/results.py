"""What evaluate knows of a run, small and made up, for tests of the report."""

from __future__ import annotations

import json
from typing import Any

from nascommon.pipeline.against_random import Judged
from nascommon.space.published import PUBLISHED
from nascommon.statistics.null import compare, null_from_accuracies

DISCRETIZE = {
    "soft": 0.9, "kept": 0.3, "kept_weighted": 0.5, "soft_recalibrated": 0.89, "kept_recalibrated": 0.8,
    "discretization_gap": 0.6, "discretization_gap_low": 0.5, "discretization_gap_high": 0.7,
    "discretization_gap_weighted": 0.4, "discretization_gap_weighted_low": 0.3, "discretization_gap_weighted_high": 0.5,
    "discretization_gap_recalibrated": 0.09, "discretization_gap_recalibrated_low": 0.05,
    "discretization_gap_recalibrated_high": 0.13,
    "operation_gap_excess": 0.02, "operation_gap_excess_low": -0.01, "operation_gap_excess_high": 0.05,
    "weight_loss_worth_tau": 0.3, "skips_normal": 1, "skips_reduction": 0, "selection_seconds": 2.0,
}  # fmt: skip
KENDALL = {
    "n": 200, "tau_a": 0.1, "tau_b": 0.1, "tau_b_low": -0.02, "tau_b_high": 0.21, "p_value": 0.1, "known": 300,
    "diverged": 0,
}  # fmt: skip


def results(
    *, random: list[float] | None = None, accuracies: tuple[float, ...] = (0.93,), **other: Any
) -> dict[str, Any]:
    """Return a run's results, as evaluate writes them.

    Args:
        random: accuracies in percent of the random architectures; None compares with none.
        accuracies: of the trainings of ours; () was not retrained.
        other: keys that differ.
    """
    own = sum(accuracies) / len(accuracies) if accuracies else None
    comparisons = []
    if random is not None and own is not None:
        comparisons.append(Judged(compare(100 * own, null_from_accuracies(random, "a bank of the same protocol"))))
    first = comparisons[0].comparison if comparisons else None
    tree = {
        "metrics": {
            "test_accuracy": own, "test_images": 1348 if accuracies else None,
            "linear_error_percent": 5.0, "transfer_error_percent": None,
            "percentile_vs_random": first.percentile if first else None,
        },
        "truth": None, "comparisons": [one.as_dict() for one in comparisons], "accuracies": accuracies,
        "cost_seconds": {"search": 60.0, "selection": 2.0, "retrain": 30.0},
        "genotype": PUBLISHED["DARTS_V2"].to_json(), "given": None, "no_bank": None, "unranked": None,
        "published_protocol": False,
        "stages": {
            "search": {"epochs": 12, "search_seconds": 60.0}, "discretize": DISCRETIZE, "retrain": {}, "transfer": {},
            "kendall_tau": KENDALL, "baseline": {},
        }, "settings": [],
        "provenance": {"commit": "abc", "hardware": "a computer", "torch": "2", "command": "python -m stages.evaluate",
                       "method": "darts", "seed": 0, "precision": "float32"},
        **other,
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(tree))
    return plain
