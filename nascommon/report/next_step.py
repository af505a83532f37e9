"""What to try next, as a command that can be pasted, and why; it depends on what came out."""

from __future__ import annotations

from dataclasses import dataclass

from nascommon.report.verdict import GAP, Results, outcome, searched
from nascommon.statistics.null import FEWEST_TO_SHOW, LEVEL

SMALLEST_GAP = "da2s"
"""Method whose supernet loses least by being cut (results/README.md)."""
WIDE = 0.02
"""Share of validation accuracy from which a gap is worth another method."""


@dataclass(frozen=True)
class NextStep:
    """A command, and the reason in a few words."""

    command: str
    why: str


def next_step(results: Results) -> NextStep:
    """Return the one thing that would tell most after this result."""
    if outcome(results) == "none" and results["metrics"]["test_accuracy"] is None:
        return _run("retrain.skip=false", "only an architecture that is trained from scratch can be judged")
    if _too_few(results):
        why = f"a verdict needs {FEWEST_TO_SHOW} random architectures or more"
        return _run(f"baseline.architectures={FEWEST_TO_SHOW}", why)
    if results["given"] is not None:
        return _run("discretize.genotype=null", "what the search itself finds, beside the given cells")
    if outcome(results) == "better":
        seed = results["provenance"]["seed"] + 1
        return _run(f"seed={seed}", "one seed is one seed: does the next one find as good an architecture?")
    return _other_method(results, results["provenance"]["method"])


def _other_method(results: Results, method: str) -> NextStep:
    if method == "random":
        return _run(f"search.method={SMALLEST_GAP}", "does a search that learns find more than this one, which draws?")
    if method != SMALLEST_GAP and searched(results) and results["stages"]["discretize"][f"{GAP}_low"] > WIDE:
        return _run(f"search.method={SMALLEST_GAP}", "the gap is wide, and this method's is the narrowest")
    return _run("search.method=random", f"does {method} find more than drawing on the same supernet does?")


def _too_few(results: Results) -> bool:
    """Return whether no accuracy of ours could be shown to be better than the random ones, if there are any."""
    if outcome(results) == "none":
        return True
    return bool(results["comparisons"]) and bool(results["comparisons"][0]["smallest_p"] > LEVEL)


def _run(change: str, why: str) -> NextStep:
    return NextStep(f"dvc exp run -S {change}", why)
