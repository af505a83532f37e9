"""What the table of a study shows in plain sentences, and what so few runs cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from nascommon.report.next_step import RANDOM
from nascommon.report.study import ACCURACY, StudyRun, differences, study_table
from nascommon.report.verdict import Outcome
from nascommon.statistics.null import LEVEL
from nascommon.statistics.paired import fewest_pairs, sign_flip_p, smallest_p

BADGES: dict[Outcome, str] = {
    "better": "a difference is shown", "worse": "a difference is shown", "unclear": "no difference is shown",
    "none": "nothing is tested",
}  # fmt: skip
TWO = 2
"""An order takes two."""


def outcome(runs: Sequence[StudyRun]) -> Outcome:
    """Return whether any method is shown to differ from random search, a better one before a worse one."""
    tested = study_table(runs).dropna(subset=["p (Holm)"])
    sure = tested[tested["p (Holm)"] <= LEVEL]
    if sure.empty:
        return "none" if tested.empty else "unclear"
    return "better" if (sure["minus random"] > 0).any() else "worse"


def findings(runs: Sequence[StudyRun]) -> list[str]:
    """Say in plain sentences what the table shows and what it cannot, the verdict first."""
    table = study_table(runs)
    if table[ACCURACY].isna().all():
        return ["No architecture was retrained and no table knows one, so there is nothing to rank by."]
    return [_shown(table), *_best(runs, table), *_cannot(runs, table)]


def _shown(table: pd.DataFrame) -> str:
    tested = table.dropna(subset=["p (Holm)"])
    if tested.empty:
        return "No method was run with the same seeds as random search, so none is tested; add random to the methods."
    sure = tested[tested["p (Holm)"] <= LEVEL]
    if sure.empty:
        return "No method is shown to be better or worse than random search with the same seeds."
    words = [
        f"{row['method']} is {'better' if row['minus random'] > 0 else 'worse'} than random search by "
        f"{abs(row['minus random']):.2f} points (p = {row['p (Holm)']:.3f} by Holm)"
        for _, row in sure.iterrows()
    ]
    return f"{'; '.join(words)}."


def _best(runs: Sequence[StudyRun], table: pd.DataFrame) -> list[str]:
    """Say which mean is the highest, and whether that it is above the next one is shown."""
    known = table.dropna(subset=[ACCURACY])
    if len(known) < TWO:
        return []
    mean, first = f"{known.iloc[0][ACCURACY]:.2f} %", [str(name) for name in known[known["rank"] == 1]["method"]]
    if len(first) > 1:
        highest = "" if len(first) == len(known) else ", highest"
        return [f"{joined(first)} have the same{highest} mean, {mean}."]
    rest = known.iloc[1:]
    second = [str(name) for name in rest[rest["rank"] == rest["rank"].min()]["method"]]
    lead = known.iloc[0][ACCURACY] - rest.iloc[0][ACCURACY]
    told = f"{first[0]} has the highest mean, {mean}, {joined(second)} the next, {rest.iloc[0][ACCURACY]:.2f} %"
    p_values = [_p_of_order(runs, table, first[0], other) for other in second]
    tested = [p for p in p_values if p is not None]
    if len(tested) < len(second):
        return [f"{told}: without a seed in common they are not tested, so this is no order."]
    p = max(tested)
    # Means over all seeds may lie the other way than those over the seeds in common, which alone are tested.
    is_shown = p <= LEVEL and all(sum(differences(runs, first[0], other)) > 0 for other in second)
    verdict = f"the difference of {lead:.2f} points is shown" if is_shown else "no difference between them is shown"
    return [f"{told}: {verdict} (p = {p:.3f} in pairs by seed, corrected for the number of tests)."]


def _p_of_order(runs: Sequence[StudyRun], table: pd.DataFrame, first: str, second: str) -> float | None:
    """Return p of a difference, as the table has it of random search; of others it could be any pair (Bonferroni)."""
    pairs = differences(runs, first, second)
    if not pairs:
        return None
    if RANDOM in (first, second):
        return float(table[table["method"] == (first if second == RANDOM else second)]["p (Holm)"].iloc[0])
    return min(1.0, math.comb(len(table), TWO) * sign_flip_p(pairs))


def _cannot(runs: Sequence[StudyRun], table: pd.DataFrame) -> list[str]:
    """Say what so few seeds leave open."""
    sentences = []
    single = [row["method"] for _, row in table.iterrows() if math.isnan(row["± sd"])]
    if single:
        sentences.append(
            f"One run shows neither spread nor interval ({', '.join(single)}): another seed may turn the order round."
        )
    tested = [method for method in table["method"] if differences(runs, method)]
    if tested:
        pairs, needed = min(len(differences(runs, method)) for method in tested), fewest_pairs(len(tested))
        if pairs < needed:
            sentences.append(
                f"With {pairs} seed{'s' * (pairs > 1)} p cannot fall below {smallest_p(pairs):.3g}, whatever the "
                f"difference; to show one at {LEVEL} with {len(tested)} method{'s' * (len(tested) > 1)} held against "
                f"random, {needed} seeds are needed. That nothing is shown is no sign that methods are equal."
            )
    return sentences


def joined(names: Sequence[str]) -> str:
    """Write names as a person does: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
