"""Does the search's score order architectures as training from scratch does: the points, and tau with its ceiling."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from nascommon.report.known_truth import known
from nascommon.report.page.accuracy import RESULTS
from nascommon.report.page.files import Files
from nascommon.report.page.section import Key, Picture, Section
from nascommon.report.page.svg import Axes, Svg, in_sight, padded
from nascommon.report.sampled import ENDS, sampled_sentences
from nascommon.report.verdict import sentences
from nascommon.report.words import retest_sentences

FEW = 60
"""Up to so many architectures each have an error bar of their own; more would cover each other."""
TRAININGS = ("known_", "retrain_first", "retrain_second")
INHERITED = "inherited_val"


def ranking(files: Files) -> Section:
    """Show search scores against accuracies, and how well they agree."""
    results, found = files.json(RESULTS), files.json("data/kendall_tau/ranking.json")
    pairs = files.table("data/kendall_tau/architectures.csv")
    head = Section("ranking", "Does the search know what is good?")
    kendall = results["stages"]["kendall_tau"]
    if pairs is None or "ranking" not in found:
        return replace(head, missing=sentences(results)["truth"])
    text = (sentences(results)["truth"], *retest_sentences(kendall), *sampled_sentences(kendall))
    pictures = [_scatter(pairs, found, results), *_forest(kendall)]
    course = files.table("data/kendall_tau/trajectory.csv")
    if course is not None:
        pictures.append(_trajectory(course))
    return replace(head, text=text, pictures=tuple(pictures))


def _scatter(pairs: pd.DataFrame, found: dict[str, Any], results: dict[str, Any]) -> Picture:
    truth = "known" if "known" in pairs else "retrain_first"
    each = pairs[[name for name in pairs if str(name).startswith(TRAININGS)]].to_numpy(dtype=float)
    winner = _winner(found, results)
    svg = Svg(460, 330, f"Search score and accuracy of {len(pairs)} architectures")
    xs, ys = (100 * pairs[name] for name in ("search_score", truth))
    own = [[100 * value] for value in winner] if winner else [[], []]
    low = min([in_sight(ys), *own[1]])
    shown = (ys >= low).to_numpy()
    few = np.column_stack([ys, 100 * each])[shown if len(pairs) <= FEW else []]  # a table has the mean alone
    ends = np.stack([np.nanmin(few, axis=1), np.nanmax(few, axis=1)], axis=1)
    axes = Axes(svg, 40, 30, 408, 250, padded([*xs, *own[0]]), padded([*ys[shown], *ends.flat, *own[1]]))
    axes.y_axis("accuracy after training from scratch, %")
    axes.x_axis("search score: validation accuracy in the supernet, %")
    for name, x, y in zip(pairs["architecture"][shown], xs[shown], ys[shown], strict=True):
        axes.dot(float(x), float(y), "cloud", 4 if len(pairs) <= FEW else 2.4, f"{name}: {x:.2f} %, {y:.2f} %")
    keys = [Key("cloud", "an architecture")]
    spread = _spread(each)
    if spread is not None and len(ends):
        for x, (worst, best) in zip(xs[shown], ends, strict=True):
            axes.whisker(float(x), float(worst), float(best))
        keys.append(Key("whisker", "from its worst to its best training"))
    elif spread is not None:
        keys.append(Key("whisker", _error_bar(axes, each, spread, of_mean=truth == "known")))
    if winner:
        axes.star(100 * winner[0], 100 * winner[1], "the winner")
        keys.append(Key("star", "the winner of this search"))
    protocol, gone = found.get("known", {}).get("protocol"), int((~shown).sum())
    caption = [f"Accuracies: {protocol}."] if protocol else []
    caption += [f"{gone:,} architectures are further down."] if gone else []
    return Picture(svg.markup(), "Search score against truth", " ".join(caption), tuple(keys))


def _winner(found: dict[str, Any], results: dict[str, Any]) -> tuple[float, float] | None:
    """Return the winner's own score and accuracy, where both are of the kind that is drawn."""
    if results["given"] or found["search_score"] != INHERITED or found["mode"] != "single_run" or "known" not in found:
        return None
    truth = known(results["truth"])
    accuracy = truth["sets"][truth["own_set"]]["accuracy"] if truth else results["metrics"]["test_accuracy"]
    return None if accuracy is None else (results["stages"]["discretize"]["kept_recalibrated"], accuracy)


def _spread(each_NT: np.ndarray[Any, Any]) -> float | None:
    """Return the standard deviation of one training of an architecture, pooled over all that have several."""
    count_N = (~np.isnan(each_NT)).sum(axis=1)
    several_N = count_N > 1
    if not several_N.any():
        return None
    variance = np.nansum((each_NT - np.nanmean(each_NT, axis=1, keepdims=True))[several_N] ** 2)
    return 100 * float(np.sqrt(variance / (count_N[several_N] - 1).sum()))


def _error_bar(axes: Axes, each: np.ndarray[Any, Any], spread: float, *, of_mean: bool) -> str:
    """Draw one bar for many architectures, that of what is drawn, and say of what it is."""
    counts = set((~np.isnan(each)).sum(axis=1).tolist()) if of_mean else {1}
    count = counts.pop() if len(counts) == 1 else 1
    spread /= math.sqrt(count)
    what = "one training" if count == 1 else f"the mean of {count} trainings"
    x = axes.x[0] + 0.04 * (axes.x[1] - axes.x[0])
    middle = axes.y[0] + 0.12 * (axes.y[1] - axes.y[0]) + spread
    axes.whisker(x, middle - spread, middle + spread)
    return f"± one standard deviation of {what}, {spread:.2f} points"


ROWS = {
    "": "search score and truth", "top_tenth_": "the same, best tenth alone",
    "sampled_": "the same, drawn by the weights", "retest_": "two trainings of each",
    "depth_": "search depth and deeper",
}  # fmt: skip


def _forest(kendall: dict[str, Any]) -> list[Picture]:
    """Show every tau that there is; of none, nothing."""
    shown = {words: name for name, words in ROWS.items() if kendall.get(f"{name}tau_b") is not None}
    if not shown:
        return []
    svg = Svg(460, 74 + 34 * len(shown), "Kendall tau-b with 95 % intervals")
    axes = Axes(svg, 180, 18, 264, 16 + 34 * len(shown), (-1, 1), (len(shown) + 0.0, -0.3))
    axes.x_axis("Kendall tau-b")
    svg.line(axes.across(0), axes.top, axes.across(0), axes.bottom, "guide")
    ceiling = kendall.get("ceiling_tau_b")
    if ceiling is not None:
        svg.line(axes.across(ceiling), axes.top, axes.across(ceiling), axes.bottom, "ceiling")
        svg.text(
            axes.across(ceiling), axes.top - 5, f"ceiling {ceiling:.2f}", "tick", "end" if ceiling > 0 else "start"
        )
    for number, (words, name) in enumerate(shown.items()):
        tau = kendall[f"{name}tau_b"]
        low, high = (kendall.get(f"{name}tau_b{end}") for end in ENDS[1:])
        svg.text(axes.left - 10, axes.up(number + 0.3) + 4, words, "label", "end")
        if low is not None and high is not None:
            axes.span(number + 0.3, low, high)
        axes.dot(tau, number + 0.3, "ours", 4, f"{tau:.2f}")
        svg.text(axes.across(tau), axes.up(number + 0.3) - 8, f"{tau:.2f}", "tick")
    caption = "1 is the same order, 0 none, −1 the opposite. "
    if ceiling is not None:
        caption += "The ceiling is what a perfect score would reach, since trainings do not repeat their own order."
    return [Picture(svg.markup(), "Agreement, with 95 % intervals", caption)]


def _trajectory(course: pd.DataFrame) -> Picture:
    svg = Svg(460, 240, "Kendall tau-b of the supernets along the search")
    epochs = [int(epoch) + 1 for epoch in course["epoch"]]
    values = [None if pd.isna(tau) else float(tau) for tau in course["tau_b"]]
    known_values = [value for value in values if value is not None]
    axes = Axes(svg, 40, 30, 408, 160, padded([1, *epochs], 0.02), padded([0, *known_values], 0.15))
    axes.y_axis("Kendall tau-b")
    axes.x_axis("epoch", whole=True)
    svg.line(axes.left, axes.up(0), axes.left + axes.width, axes.up(0), "guide")
    axes.path(epochs, values, "ours")
    for epoch, value in zip(epochs, values, strict=True):
        if value is not None:
            axes.dot(epoch, value, "ours", 3.5, f"epoch {epoch}: {value:.2f}")
    count = int(course["n"].iloc[0])
    return Picture(
        svg.markup(), "Agreement along the search", f"The same {count} architectures, ranked by each snapshot."
    )
