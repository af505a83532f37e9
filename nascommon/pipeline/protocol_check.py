"""Rules of good practice in architecture search: each is kept, broken or does not apply, by what the files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from nascommon.pipeline.protocol_evidence import Evidence
from nascommon.pipeline.protocol_rules import (
    Answer,
    Verdict,
    ablations,
    average_architecture,
    code_of,
    confounders,
    hidden_components,
    over_time,
    random_search,
    reproducible,
    same_benchmark,
    same_evaluation,
    settings_of,
    several_data_sets,
    several_runs,
    tabular,
    training_tricks,
    tuning,
    whole_setup,
    whole_time,
)

ORDER: tuple[Verdict, ...] = ("broken", "kept", "not applicable")
LINDAUER, YANG = "Lindauer & Hutter 2020", "Yang et al. 2020"


@dataclass(frozen=True)
class Ruling:
    """One rule, judged."""

    rule: str
    source: str
    """The paper that states it, with its place in the paper's list."""
    verdict: Verdict
    evidence: str
    """What the verdict rests on."""
    advice: str
    """What to do; empty where nothing is to be done."""

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


def rulings(evidence: Evidence) -> list[Ruling]:
    """Judge every rule; equal files give equal rulings.

    The lists are the best practices of Lindauer and Hutter ("Best practices for scientific research on neural
    architecture search", JMLR 21, 2020), by their number there, and the recommendations that close Yang, Esperanca and
    Carlucci ("NAS evaluation is frustratingly hard", ICLR 2020, section 6); the words are ours. Practice 3, to release
    code before it is clean, is a matter of publishing and not judged.
    """
    return [Ruling(rule, source, *judge(evidence)) for rule, source, judge in RULES]


def to_text(judged: Sequence[Ruling]) -> str:
    """Write rulings for a terminal: broken ones first, then kept ones, then the rest, and a count."""
    blocks = []
    for verdict in ORDER:
        for one in (one for one in judged if one.verdict == verdict):
            lines = [f"{verdict.upper()}: {one.rule} ({one.source})", f"  {one.evidence}"]
            blocks.append("\n".join([*lines, *([f"  to do: {one.advice}"] if one.advice else [])]))
    counts = Counter(one.verdict for one in judged)
    return "\n".join([*blocks, "", ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER)])


RULES: tuple[tuple[str, str, Callable[[Evidence], Answer]], ...] = (
    (
        "The code of the training that judges the final architecture is there",
        f"{LINDAUER}, 1: code",
        partial(code_of, "retrain"),
    ),
    ("Settings and seeds of the final training are there", f"{LINDAUER}, 1: settings", partial(settings_of, "retrain")),
    ("The code of the search method is there", f"{LINDAUER}, 2", partial(code_of, "search")),
    ("Methods are compared on one benchmark: data, split, space, training", f"{LINDAUER}, 4", same_benchmark),
    ("Parts of the method are left out in turn", f"{LINDAUER}, 5", ablations),
    ("What is compared was evaluated by one protocol", f"{LINDAUER}, 6", same_evaluation),
    ("Quality is known over the time of the search", f"{LINDAUER}, 7", over_time),
    ("Random search is compared with", f"{LINDAUER}, 8", random_search),
    ("The search ran several times, with reported seeds", f"{LINDAUER}, 9", several_runs),
    ("Tables of trained architectures are used for a closer look", f"{LINDAUER}, 10", tabular),
    ("Hardware and versions are the same for all that is compared", f"{LINDAUER}, 11", confounders),
    ("Settings and seeds of the search method are there", f"{LINDAUER}, 12: settings", partial(settings_of, "search")),
    ("How settings were tuned, and at what cost, is reported", f"{LINDAUER}, 12: tuning", tuning),
    ("The time of all steps is reported, not of the search alone", f"{LINDAUER}, 13", whole_time),
    ("All details of the set-up are reported", f"{LINDAUER}, 14", whole_setup),
    ("Results with and without tricks of training are there", f"{YANG}, tricks", training_tricks),
    (
        "The result is held against the average architecture of the space",
        f"{LINDAUER}, 8; {YANG}, search space",
        average_architecture,
    ),
    ("More than one data set is searched on", f"{YANG}, data sets", several_data_sets),
    ("Parts beside the search, as depth, are measured", f"{YANG}, hidden components", hidden_components),
    ("Code and seeds make the result reproducible", f"{YANG}, reproducibility", reproducible),
    ("Settings need no tuning, or its cost is counted", f"{YANG}, cost of tuning", tuning),
)
"""Every rule: what it asks for, whose it is, and how it is judged."""
