"""What figures are called in MLflow: ``group/name``, the group being a section of charts and the name a chart's title.

Whatever is not named here keeps its own name, so that no figure is ever lost or taken for another.
"""

from __future__ import annotations

import re
from typing import Final

SHOWN: Final = {
    "train_accuracy": "accuracy/train", "valid_accuracy": "accuracy/valid", "test_accuracy": "accuracy/test",
    "best_epoch_valid_accuracy": "accuracy/best epoch", "random_mean_accuracy": "accuracy/random",
    "soft": "accuracy/soft", "soft_recalibrated": "accuracy/soft recalibrated", "kept": "accuracy/cut",
    "kept_weighted": "accuracy/cut weighted", "kept_recalibrated": "accuracy/cut recalibrated",
    "test_error_percent": "error/test", "linear_error_percent": "error/linear",
    "transfer_error_percent": "error/transfer",
    "discretization_gap": "gap/cut", "discretization_gap_weighted": "gap/cut weighted",
    "discretization_gap_recalibrated": "gap/cut recalibrated", "operation_gap_excess": "gap/operations",
    "tau_a": "tau/a", "tau_b": "tau/b", "tau_c": "tau/c", "weighted_tau": "tau/weighted", "p_value": "tau/p",
    "retest_tau_b": "tau/retest", "depth_tau_b": "tau/depth b", "ceiling_tau_b": "tau/ceiling",
    "top_tenth_tau_b": "tau/top tenth", "top_tenth_p_value": "tau/top tenth p",
    "structure_tau": "tau/structure", "depth_tau": "tau/depth",
    "weight_worth_tau": "tau/worth", "weight_loss_worth_tau": "tau/loss worth", "icc": "tau/icc",
    "percentile_vs_random": "random/better than", "p_value_vs_random": "random/p",
    "p_as_good_as_random": "random/p as good", "variance_between_architectures": "random/variance between",
    "train_loss": "loss/train", "valid_loss": "loss/valid", "learning_rate": "optimiser/learning rate",
    "params": "size/params", "params_with_auxiliary": "size/with auxiliary", "mult_adds": "size/mult-adds",
    "paper_flops": "size/paper flops", "peak_memory_mib": "size/memory MiB",
    "seconds": "time/epoch", "search_seconds": "time/search", "selection_seconds": "time/selection",
    "train_seconds": "time/training", "stage_seconds": "time/stage", "total_seconds": "time/total",
    "images_per_second": "time/images per second",
    "n": "count/ranked", "diverged": "count/diverged", "architectures": "count/architectures",
    "epochs": "count/epochs", "best_epoch": "count/best epoch", "trainings": "count/trainings", "phase": "count/phase",
    "top_tenth": "count/top tenth", "retest": "count/retest", "structure_tau_n": "count/structure",
    "depth_tau_n": "count/depth",
    "valid_images": "count/valid images", "test_images": "count/test images",
    "transfer_test_images": "count/transfer test",
    "known": "count/known", "known_trainings": "count/known trainings", "known_repeats": "count/known repeats",
}  # fmt: skip
_GROUPS: Final = {f"{group}_": f"{group}/" for group in ("skips", "entropy", "watch", "truth", "sampled")}
_ENDS: Final = "low|high|sd|n|final|[0-9]+"
_NAMES: Final = {shown: name for name, shown in SHOWN.items()}


def shown(name: str) -> str:
    """Return what a figure of ours is called in MLflow: `discretization_gap_low` is `gap/cut low`."""
    return _translated(name, SHOWN, _GROUPS, ("_", " "))


def original(name: str) -> str:
    """Return what a figure in MLflow is called here; the inverse of `shown`."""
    return _translated(name, _NAMES, {shown: name for name, shown in _GROUPS.items()}, (" ", "_"))


def _translated(name: str, names: dict[str, str], groups: dict[str, str], between: tuple[str, str]) -> str:
    if name in names:
        return names[name]
    ending = re.fullmatch(f"(.+){between[0]}({_ENDS})", name)
    if ending and ending[1] in names:
        return f"{names[ending[1]]}{between[1]}{ending[2]}"
    group = next((group for group in groups if name.startswith(group)), "")
    return groups[group] + name.removeprefix(group) if group else name
