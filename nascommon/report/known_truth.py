"""What a table knows of the found architecture, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from nascommon.report.table import MILLION
from nascommon.runtime.progress import duration, percent, share_worse
from nascommon.truth.published import published_values
from nascommon.truth.table import DATA_SETS, DISTINCT, PROTOCOL, DataSet

Truth = Mapping[str, Any]
PUBLISHED_COLUMNS = {"c10_test": "CIFAR-10 %", "c100_test": "CIFAR-100 %", "in16_test": "ImageNet16-120 %"}
CIFAR_10: DataSet = "cifar10"
"""The set whose networks the table counts."""
FEW = 10
"""Up to here a number of trainings is told with two digits."""
ONE_DEPTH = "Depth gap: none can be measured; the table holds networks of one depth."


def known(truth: Truth | None) -> Truth | None:
    """Return what is known; None where there is at most the reason why nothing is."""
    return None if truth is None or "unknown" in truth else truth


def truth_metrics(truth: Truth | None) -> dict[str, float]:
    """Return the figures that DVC and MLflow compare: shares, the rank, and the percentile in percent."""
    if (truth := known(truth)) is None:
        return {}
    names = ("accuracy", "rank", "percentile", "regret")
    own = {f"truth_{name}": truth["sets"][truth["own_set"]][name] for name in names}
    each = {
        f"truth_{name}_{data_set.replace('-', '_')}": place[name]
        for data_set, place in truth["sets"].items()
        for name in names
    }
    expected = truth["random_search"]["expected"][str(truth["random_search"]["draws"])]
    return {**own, **each, "truth_random_search_accuracy": expected["best"]}


def truth_verdict(truth: Truth | None) -> str:
    """Say on a line where the cell stands, which is exact; nothing where it is not known."""
    if (truth := known(truth)) is None:
        return ""
    place = truth["sets"][truth["own_set"]]
    words = (
        f"rank {place['rank']:,} of {place['total']:,} on {DATA_SETS[truth['own_set']]}: better than "
        f"{share_worse(place['percentile'])} of all cells, {100 * place['regret']:.2f} points below the best"
    )
    return words if _beats_counts(truth) else f"{words}; not better than the cell that a count of parameters picks"


def truth_rows(truth: Truth | None, what: str, cost: str) -> list[dict[str, Any]]:
    """Return the rows of the table of results: a cell's known error on each set, with its size on the first.

    Args:
        truth: what is known.
        what: where the cell comes from.
        cost: what that took.
    """
    if (truth := known(truth)) is None:
        return []
    size = {"params M": truth["params"] / MILLION, "mult-adds M": truth["macs"] / MILLION}
    return [
        {
            "what": f"{what}; known, not trained here",
            "data set": DATA_SETS[name],
            "test error %": 100 * (1 - place["accuracy"]),
            "search cost": cost,
            "note": PROTOCOL,
            **(size if name == CIFAR_10 else {}),
        }
        for name, place in truth["sets"].items()
    ]


def truth_sentences(truth: Truth | None) -> list[str]:
    """Return what a reader wants first."""
    if truth is None:
        return []
    if "unknown" in truth:
        return [f"Known truth: none for this search; {truth['unknown']}."]
    place = truth["sets"][truth["own_set"]]
    return [f"Known truth: {percent(place['accuracy'])} test accuracy, {truth_verdict(truth)}."]


def truth_section(truth: Truth | None, title: str) -> list[str]:
    """Return the lines of the section "Known truth"; none where nothing is known."""
    if (truth := known(truth)) is None:
        return []
    return [
        "## Known truth", "",
        origin_sentences(truth), "",
        standing_table(truth), "",
        *(f"- {sentence}" for sentence in (counts_sentence(truth), cost_sentence(truth))), "",
        draws_table(truth), "",
        "Papers that searched this space report, in percent (sources in nascommon/truth/reference/NOTICE.md):", "",
        published_table(truth, title), "",
    ]  # fmt: skip


def cell_lines(truth: Truth | None) -> list[str]:
    """Return the truth of a cell for somebody who looks at that cell alone; none where nothing is known."""
    if truth is None:
        return []
    return [
        "",
        f"{truth['cell']}, row {truth['row']} of the table ({PROTOCOL}):",
        f"{truth['params']:,} parameters, {truth['macs']:,} multiply-adds",
        standing_table(truth),
        twins_sentence(truth),
    ]


def origin_sentences(truth: Truth) -> str:
    """Say whose figures these are and which cell they are about."""
    return (
        f"Others have trained every cell of this space from scratch ({truth['protocol']}); nothing was trained here "
        f"for these figures. The found cell is row {truth['row']} of the table, `{truth['cell']}`, with "
        f"{truth['params']:,} parameters and {truth['macs']:,} multiply-adds on CIFAR-10. {twins_sentence(truth)}"
    )


def twins_sentence(truth: Truth) -> str:
    """Say how the cells that are the same graph came out, which shows how much of a difference is chance."""
    places = next(iter(truth["sets"].values()))["total"]
    graphs = f"Of the {places:,} cells {DISTINCT:,} are different graphs"
    if not truth["twins"]:
        return f"{graphs}; no other one is this one."
    low, high = min(truth["twins"]), max(truth["twins"])
    if len(truth["twins"]) == 1:
        return f"{graphs}; 1 other cell is the same as this one and reached {percent(low)}."
    others = f"{len(truth['twins']):,} other cells are the same as this one"
    return f"{graphs}; {others} and reached {percent(low)} to {percent(high)}."


def standing_table(truth: Truth) -> str:
    """Return the cell among all, a column for each set."""
    headers = ["", *(DATA_SETS[name] for name in truth["sets"])]
    return str(tabulate(standing_rows(truth), headers, tablefmt="github", disable_numparse=True))


def standing_rows(truth: Truth) -> list[list[str]]:
    """Return its rows, their names first."""
    sets = truth["sets"]
    return [
        ["test accuracy", *(percent(place["accuracy"]) for place in sets.values())],
        ["rank", *(f"{place['rank']:,} of {place['total']:,}" for place in sets.values())],
        ["better than", *(f"{share_worse(place['percentile'])} of all" for place in sets.values())],
        ["below the best", *(f"{100 * place['regret']:.2f} points" for place in sets.values())],
        ["best cell", *(percent(place["best"]) for place in sets.values())],
        ["random cell, mean", *(percent(place["mean"]) for place in sets.values())],
    ]


def counts_sentence(truth: Truth) -> str:
    """Say what a count would have chosen, and what it means not to beat it."""
    picks = " ".join(
        f"The cell with most {count['what']} has {percent(count['accuracy'])} (rank {count['rank']:,}); Spearman's rho "
        f"of {count['what']} and accuracy is {count['spearman']:.3f}."
        for count in truth["counts"]
    )
    if _beats_counts(truth):
        return f"{picks} The found cell is better than what either count picks."
    return (
        f"{picks} The found cell is not better than what a count picks: a search that does not beat a count has found "
        "nothing."
    )


def cost_sentence(truth: Truth) -> str:
    """Say for how many trainings the search's time would have done, and what they would have found."""
    drawn = truth["random_search"]
    search, training = (duration(drawn[f"{name}_seconds"]) for name in ("search", "training"))
    trainings = drawn["trainings"]
    worth = f"{trainings:,.0f}" if round(trainings) >= FEW else f"{trainings:.2g}"
    expected = drawn["expected"][str(drawn["draws"])]
    draws = (
        "one random cell" if drawn["draws"] == 1 else f"the best of {drawn['draws']:,} random cells, by test accuracy"
    )
    return (
        f"The search took {search}. To train a cell of average size as the benchmark does would take {training} on "
        f"this machine (by a step timed now, without loading pictures), so the search cost as much as {worth} "
        f"trainings. Random search for that cost finds {draws}: {percent(expected['best'])} on average."
    )


def draws_table(truth: Truth) -> str:
    """Return what random search finds, by how many cells it trains."""
    rows = [
        [f"{int(k):,}", percent(expected["best"]), percent(expected["chosen"])]
        for k, expected in truth["random_search"]["expected"].items()
    ]
    headers = ["random cells", "best by test accuracy, mean", "best by validation accuracy on CIFAR-10, mean"]
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def published_rows(truth: Truth, title: str) -> list[list[str]]:
    """Return the test accuracies that papers report, ours above them: whose, method, searched on, sets, source."""
    ours = [f"{100 * place['accuracy']:.2f}" for place in truth["sets"].values()]
    rows = [["ours", title, "", *ours, ""]]
    for record in published_values().astype(object).where(lambda frame: frame.notna(), None).to_dict("records"):
        cells = [_with_sd(record[name], record[f"{name}_sd"]) for name in PUBLISHED_COLUMNS]
        rows.append(["paper", record["method"], record["search_on"] or "", *cells, record["source"]])
    return rows


def published_table(truth: Truth, title: str) -> str:
    """Return the same as a table."""
    headers = ["whose", "method", "searched on", *PUBLISHED_COLUMNS.values(), "source"]
    return str(tabulate(published_rows(truth, title), headers, tablefmt="github", disable_numparse=True))


def _with_sd(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def _beats_counts(truth: Truth) -> bool:
    own = truth["sets"][truth["own_set"]]["accuracy"]
    return all(own > count["accuracy"] for count in truth["counts"])
