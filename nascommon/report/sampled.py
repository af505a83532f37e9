"""What the final mixing weights draw, in words."""

from __future__ import annotations

from typing import Any

from nascommon.runtime.progress import percent
from nascommon.statistics.ranking import tau_in_words

ENDS = ("", "_low", "_high")
"""Endings of a figure's name and of those of its interval."""


def sampled_sentences(kendall: dict[str, Any]) -> list[str]:
    """Say whether the final mixing weights draw better architectures than chance, and how these are ranked."""
    if (wanted := kendall.get("sampled_wanted")) is None:
        return []
    different, known = kendall["sampled_different"], kendall["sampled_known"]
    came_up = "one architecture" if different == 1 else f"{different} different architectures"
    short = f" ({wanted} wanted)" if different < wanted else ""
    drawn = f"The final mixing weights drew {came_up}{short}, {known} of them known"
    if kendall["sampled_mean"] is None:
        return [f"{drawn}: too few to rank."]
    tau = tau_in_words(known, *(kendall[f"sampled_tau_b{end}"] for end in ENDS))
    ranked = f"Among them search score against known accuracy has Kendall tau-b {tau}."
    mean = f"{drawn}, with a mean accuracy of {percent(kendall['sampled_mean'])}"
    if kendall["sampled_difference"] is None:
        return [f"{mean}. {ranked}"]
    difference, low, high = (100 * kendall[f"sampled_difference{end}"] for end in ENDS)
    verdict = "not shown to differ from chance"
    if low > 0 or high < 0:
        verdict = "better than chance" if low > 0 else "worse than chance"
    count = kendall["sampled_uniform_n"]
    chance = f"{percent(kendall['sampled_uniform_mean'])} of {count} drawn uniformly among what they can draw"
    interval = f"{difference:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"
    return [f"{mean} against {chance}: {verdict} ({interval}). {ranked}"]
