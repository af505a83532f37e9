"""What to try next, as a command that can be pasted, and why; it depends on what came out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nascommon.report.verdict import GAP, Results, outcome, searched
from nascommon.statistics.null import FEWEST_TO_SHOW, LEVEL

RANDOM = "random"
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
        return _run("retrain.skip=false", "what is not trained cannot be judged")
    if _too_few(results):
        return _run(f"baseline.architectures={FEWEST_TO_SHOW}", "the fewest that allow a verdict")
    if results["given"] is not None:
        return _run("discretize.genotype=null", "what the search itself finds")
    if outcome(results) == "better":
        return NextStep(study_of([results["provenance"]["method"]]), "one seed is one seed: three tell more")
    return _other_method(results, results["provenance"]["method"])


def study_of(methods: Iterable[str]) -> str:
    """Return the command that holds methods against random search; of no other than that, the default."""
    searched_by = sorted(set(methods) - {RANDOM}) or [SMALLEST_GAP]
    return f'make study METHODS="{" ".join([*searched_by, RANDOM])}"'


def _other_method(results: Results, method: str) -> NextStep:
    if method == RANDOM:
        return _study(method, SMALLEST_GAP, "does learning find more than drawing? 3 seeds each")
    if method != SMALLEST_GAP and searched(results) and results["stages"]["discretize"][f"{GAP}_low"] > WIDE:
        return _study(method, SMALLEST_GAP, "the method whose gap is narrowest; 3 seeds each")
    return _study(method, RANDOM, "is it more than drawing finds? 3 seeds each")


def _too_few(results: Results) -> bool:
    """Return whether no accuracy of ours could be shown to be better than the random ones, if there are any."""
    if outcome(results) == "none":
        return True
    return bool(results["comparisons"]) and bool(results["comparisons"][0]["smallest_p"] > LEVEL)


def _study(method: str, other: str, why: str) -> NextStep:
    return NextStep(f'make study METHODS="{method} {other}"', why)


def _run(change: str, why: str) -> NextStep:
    return NextStep(f"dvc exp run -S {change}", why)
