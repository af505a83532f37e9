"""The verdict: five headline figures of a run, and what they mean, each in one plain sentence.

Here is their one definition; the terminal, report.md, report.html and MLflow take figures and words from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nascommon.report.known_truth import known, truth_verdict
from nascommon.report.sampled import ENDS
from nascommon.runtime.progress import duration, percent, points
from nascommon.statistics.null import LEVEL
from nascommon.statistics.ranking import tau_in_words

Results = Mapping[str, Any]
"""Content of data/evaluate/results.json."""
Outcome = Literal["better", "worse", "unclear", "none"]
Topic = Literal["verdict", "accuracy", "gap", "truth", "time"]
GAP = "discretization_gap_recalibrated"
"""Metric of the headline gap, its interval under the endings of ``ENDS``."""
GAP_MEANING = (
    "validation accuracy of the supernet minus that of the same supernet cut to the found cells (what is kept has "
    "weight one), batch norm measured anew for both, nothing retrained"
)
"""The one definition of "the gap". Batch norm is measured anew since its running statistics are those of the mixture
and wrong for any part of it (docs/methods.md, section 6)."""
HALF = 50.0
OUTCOMES: dict[Outcome, str] = {
    "better": "better than chance", "worse": "worse than chance", "unclear": "undecided", "none": "no verdict",
}  # fmt: skip
OUTCOMES_OF_TABLE: dict[Outcome, str] = {
    "better": "better than most, and than counting parameters", "worse": "worse than half of all",
    "unclear": "no better than counting parameters", "none": "no verdict",
}  # fmt: skip
"""The same where all architectures are known."""


@dataclass(frozen=True)
class Headline:
    """The five figures that runs are compared by; None is unknown.

    Attributes:
        accuracy: test accuracy (share) of the architecture after training from scratch: mean over the trainings of
            this run, or, where it was not retrained, what a table knows of it.
        gap: share of validation accuracy that the supernet loses by being cut, as ``GAP_MEANING`` says.
        percentile: percent of all architectures of the space that are worse, where a table knows them; else percent
            of the random ones that were trained by the same protocol.
        tau: Kendall's tau-b of search score and known or retrained accuracy.
        seconds: search, selection and retraining.
    """

    accuracy: float | None
    gap: float | None
    percentile: float | None
    tau: float | None
    seconds: float

    def figures(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


def headline(results: Results) -> Headline:
    """Return the headline figures of a run."""
    metrics, stages = results["metrics"], results["stages"]
    return Headline(
        accuracy=_first(metrics.get("test_accuracy"), metrics.get("truth_accuracy")),
        gap=stages["discretize"][GAP] if searched(results) else None,
        percentile=_first(metrics.get("truth_percentile"), metrics.get("percentile_vs_random")),
        tau=stages["kendall_tau"].get("tau_b"),
        seconds=sum(results["cost_seconds"].values()),
    )


def outcome(results: Results) -> Outcome:
    """Return whether the architecture is better than random ones, as far as this run can show it.

    Of a table, which is exact, it is whether most cells are worse and whether a count would have picked a better one.
    """
    if (truth := known(results["truth"])) is not None:
        place = truth["sets"][truth["own_set"]]
        if place["percentile"] <= HALF:
            return "worse"
        beaten = all(place["accuracy"] > count["accuracy"] for count in truth["counts"])
        return "better" if beaten else "unclear"
    if not results["comparisons"]:
        return "none"
    first = results["comparisons"][0]
    if first["p_value"] > LEVEL:
        return "unclear"
    return "better" if first["percentile"] > HALF else "worse"


def badge(results: Results) -> str:
    """Return the outcome in a few words."""
    words = OUTCOMES if known(results["truth"]) is None else OUTCOMES_OF_TABLE
    return words[outcome(results)]


def sentences(results: Results) -> dict[Topic, str]:
    """Return a sentence or two on each headline figure, the verdict first."""
    return {
        "verdict": verdict_sentence(results),
        "accuracy": " ".join(filter(None, (accuracy_sentence(results), linear_sentence(results)))),
        "gap": gap_sentence(results),
        "truth": ranking_sentence(results),
        "time": cost_sentence(results["cost_seconds"]),
    }


def verdict_sentence(results: Results) -> str:
    """Say whether the search found anything that chance, or a count, would not have."""
    if (words := truth_verdict(results["truth"])) or results["comparisons"]:
        words = words or results["comparisons"][0]["verdict"]
        return f"{words[:1].upper()}{words[1:]}."
    if results["metrics"]["test_accuracy"] is None:
        unknown = (results["truth"] or {}).get("unknown")
        why = f"; {unknown}" if unknown else ""
        return f"No verdict: nothing was retrained{why}. Set retrain.skip: false."
    why = f" ({results['no_bank']})" if results["no_bank"] else ""
    return f"Not compared with random architectures{why}: set baseline.architectures."


def accuracy_sentence(results: Results) -> str:
    """Say what the architecture reaches after training from scratch, and who trained it."""
    accuracy, each = results["metrics"]["test_accuracy"], results["accuracies"]
    if accuracy is None:
        skipped = "Not retrained, since retrain.skip is true: "
        if (truth := known(results["truth"])) is None:
            return f"{skipped}no accuracy of its own, and no random networks beside it."
        return f"{skipped}the accuracy {percent(truth['sets'][truth['own_set']]['accuracy'])} is the table's."
    several = f"mean of {len(each)} trainings: {', '.join(map(percent, each))}; " if len(each) > 1 else ""
    images = results["metrics"].get("test_images")
    number = f"{images:,} " if images else ""  # results of an earlier version have none
    return f"Test accuracy {percent(accuracy)} ({several}last epoch, {number}test images read once)."


def linear_sentence(results: Results) -> str:
    """Say what any network has to beat clearly; empty where it was not asked for."""
    error = results["metrics"]["linear_error_percent"]
    return "" if error is None else f"A linear classifier on the raw pixels reaches {100 - error:.2f} %."


def gap_sentence(results: Results) -> str:
    """Say what cutting the supernet costs, before anything is retrained."""
    if not searched(results):
        return "No gap: the search trained no supernet."
    gap = results["stages"]["discretize"]
    value, low, high = (gap[f"{GAP}{end}"] for end in ENDS)
    of_search = " (of the search's own cells, not of the given ones)" if results["given"] else ""
    return (
        f"Gap {points(value)}{of_search} (95 % interval {100 * low:+.1f} to {100 * high:+.1f}): cut to its cells, the "
        f"supernet goes from {percent(gap['soft_recalibrated'])} to {percent(gap['kept_recalibrated'])} validation "
        "accuracy, batch norm measured anew for both."
    )


def ranking_sentence(results: Results) -> str:
    """Say whether search scores order architectures as training from scratch does, or why none were ranked."""
    kendall = results["stages"]["kendall_tau"]
    if why := results.get("unranked"):
        return f"No ranking (n = {kendall['n']}): {why}."
    what = "known accuracies" if kendall.get("known") else "accuracies after retraining"
    tau = tau_in_words(kendall["n"], *(kendall.get(f"tau_b{end}") for end in ENDS))
    return f"{_agreement(kendall).format(kendall['n'], what)}: Kendall tau-b {tau}."


def _agreement(kendall: Mapping[str, Any]) -> str:
    low, high = (kendall.get(f"tau_b{end}") for end in ENDS[1:])
    if low is None or high is None:
        return "Whether search scores order {} architectures by their {} cannot be told"
    if low > 0:
        return "Search scores order {} architectures by their {}, better than chance does"
    if high < 0:
        return "Search scores order {} architectures against their {}, worse than chance does"
    return "Search scores are not shown to order {} architectures by their {} better than chance does"


def cost_sentence(cost: Mapping[str, float]) -> str:
    """Say how long it took to find and retrain the architecture."""
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in cost.items())
    return f"Cost: {duration(sum(cost.values()))} ({parts})."


def searched(results: Results) -> bool:
    """Return whether a supernet was trained at all."""
    return bool(results["stages"]["search"]["epochs"] > 0)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
