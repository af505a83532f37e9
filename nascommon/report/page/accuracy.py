"""Accuracies of a run as two pictures: what becomes of the supernet's, and the winner among random architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from nascommon.report.known_truth import cost_sentence, counts_sentence, known, standing_rows
from nascommon.report.page.files import Files
from nascommon.report.page.section import Key, Picture, Section, Table
from nascommon.report.page.svg import Axes, Range, Svg, in_sight, padded
from nascommon.report.verdict import GAP, GAP_MEANING, searched, sentences
from nascommon.runtime.progress import percent
from nascommon.statistics.intervals import wilson_interval
from nascommon.truth.table import DATA_SETS

RESULTS = "data/evaluate/results.json"
RANDOM = "data/evaluate/random.csv"
TABLE = "data/evaluate/table.json"
MANIFEST = "data/prepared/target/manifest.json"
FULL: Range = (0.0, 100.0)
FEW = 60
"""Up to so many architectures are drawn one by one."""
BINS = 40


def journey(files: Files) -> Section:
    """Show the accuracy from the soft supernet through the cut one to the retrained network."""
    results, manifest = files.json(RESULTS), files.json(MANIFEST)
    head = Section("journey", "From supernet to network")
    if not searched(results):
        return replace(head, missing=sentences(results)["gap"])
    images = sum(manifest["counts"]["architecture"].values())
    text = (f"The gap is the {GAP_MEANING}.",)
    caption = (
        f"Bars: 95 % intervals that the number of pictures leaves ({images:,} of validation). Supernets are scored on "
        "validation pictures, networks trained from scratch on test pictures, which nothing before them has seen."
    )
    keys = [Key("ours", "accuracy"), Key("line chance", "guessing")]
    if len(results["accuracies"]) > 1:
        keys.append(Key("small", "each training"))
    row = next((row for row in files.json(TABLE) if row["what"].endswith("and retrained")), None)
    svg = _draw_journey(results, row, images, len(manifest["classes"]))
    return replace(head, text=text, pictures=(Picture(svg.markup(), caption=caption, keys=tuple(keys)),))


def _draw_journey(results: dict[str, Any], row: dict[str, Any] | None, images: int, classes: int) -> Svg:
    gap = results["stages"]["discretize"]
    svg = Svg(460, 290, "Accuracy of the supernet soft, cut and recalibrated, and of the retrained network")
    axes = Axes(svg, 34, 34, 416, 200, (0.4, 4.7), FULL)
    axes.y_axis("accuracy, %")
    svg.line(axes.left, axes.up(100 / classes), axes.left + axes.width, axes.up(100 / classes), "chance")
    steps = {1: ("soft_recalibrated", "soft,", "batch norm", "anew"), 2: ("kept", "cut,", "old", "batch norm"),
             3: ("kept_recalibrated", "cut,", "batch norm", "anew")}  # fmt: skip
    axes.path(list(steps), [100 * gap[name] for name, *_ in steps.values()], "journey")
    _bracket(axes, gap)
    for x, (name, *words) in steps.items():
        low, high = wilson_interval(round(gap[name] * images), images)
        _step(axes, x, gap[name], (100 * low, 100 * high), words)
    _retrained(axes, results, row)
    return svg


def _step(axes: Axes, x: float, share: float, interval: Range, words: Sequence[str]) -> None:
    """Draw an accuracy (share) with its interval (percent); below it stands what it is of."""
    axes.whisker(x, *interval)
    axes.dot(x, 100 * share, "ours", 4.5, percent(share))
    axes.svg.text(axes.across(x), axes.up(interval[1]) - 7, f"{100 * share:.1f}", "value")
    for line, word in enumerate(words):
        axes.svg.text(axes.across(x), axes.bottom + 17 + 14 * line, word, "label")


def _bracket(axes: Axes, gap: dict[str, Any]) -> None:
    """Mark the headline gap at the cut supernet."""
    x, (soft, kept) = axes.across(3.2), (axes.up(100 * gap[f"{name}_recalibrated"]) for name in ("soft", "kept"))
    axes.svg.line(axes.across(1.08), soft, x, soft, "guide")
    axes.svg.line(x, soft, x, kept, "gap")
    for line, words in enumerate(("gap", f"{100 * gap[GAP]:+z.1f}")):
        axes.svg.text(x + 6, (soft + kept) / 2 + 1 + 14 * line, words, "value gap-text", "start")


def _retrained(axes: Axes, results: dict[str, Any], row: dict[str, Any] | None) -> None:
    x, truth, each = 4.2, known(results["truth"]), results["accuracies"]
    if row is not None:
        for share in each if len(each) > 1 else ():
            axes.dot(x + 0.17, 100 * share, "small", 2.5, percent(share))
        interval = (100 - row["95 % high"], 100 - row["95 % low"])
        _step(axes, x, results["metrics"]["test_accuracy"], interval, ("retrained,", "test", "pictures"))
    elif truth is not None:
        share = truth["sets"][truth["own_set"]]["accuracy"]
        _step(axes, x, share, (100 * share, 100 * share), ("trained", "by others,", "test pictures"))
    else:
        axes.svg.text(axes.across(x), axes.up(50), "not retrained", "label")


def cloud(files: Files) -> Section:
    """Show the winner among random architectures, or among all where a table knows them."""
    results, random = files.json(RESULTS), files.table(RANDOM)
    head = Section("cloud", "The winner among random architectures")
    verdict = sentences(results)["verdict"]
    if random is None:
        return replace(head, missing=verdict)
    pictures = tuple(_cloud_of(results, str(source), part) for source, part in random.groupby("source", sort=False))
    if (truth := known(results["truth"])) is None:
        return replace(head, pictures=pictures)
    names = [DATA_SETS[name] for name in truth["sets"]]
    table = Table(("", *names), standing_rows(truth), numbers=frozenset(range(1, 1 + len(names))))
    text = (counts_sentence(truth), cost_sentence(truth))
    return replace(head, text=text, pictures=pictures, tables=(table,))


def _cloud_of(results: dict[str, Any], source: str, random: pd.DataFrame) -> Picture:
    accuracies = 100 * random["accuracy"].to_numpy()
    truth = known(results["truth"])
    own = truth["sets"][truth["own_set"]]["accuracy"] if truth else results["metrics"]["test_accuracy"]
    each = [] if truth else [100 * share for share in results["accuracies"]]
    marks = {"mean": float(accuracies.mean())}
    if results["metrics"]["linear_error_percent"] is not None and not truth:
        marks["linear"] = 100 - results["metrics"]["linear_error_percent"]
    if truth:
        marks["count"] = 100 * truth["counts"][0]["accuracy"]
    svg = Svg(460, 250, f"Test accuracies of {len(accuracies)} architectures and of the winner")
    shown = accuracies[accuracies >= min(in_sight(accuracies), 100 * own)]
    axes = Axes(svg, 40, 30, 410, 170, padded([*shown, 100 * own, *marks.values(), *each]), (0, 1))
    axes = _dots(axes, shown) if len(shown) <= FEW else _bars(axes, shown)
    for name, value in marks.items():
        svg.line(axes.across(value), axes.top, axes.across(value), axes.bottom, f"mark {name}")
    _winner(axes, 100 * own, each, results["metrics"].get("test_accuracy_sd"))
    axes.x_axis("test accuracy, %")
    gone = len(accuracies) - len(shown)
    caption = f"{gone:,} of them are further left." if gone else ""
    keys = _keys(marks, own, each, many=len(shown) > FEW)
    return Picture(svg.markup(), _heading(source, len(accuracies), truth), caption, keys)


def _heading(source: str, count: int, truth: Any) -> str:
    if truth:
        return f"All {count:,} architectures of the space on {DATA_SETS[truth['own_set']]}"
    return f"{count:,} random architectures, {source}"


def _bars(axes: Axes, accuracies: np.ndarray[Any, Any]) -> Axes:
    counts, edges = np.histogram(accuracies, bins=BINS, range=axes.x)
    placed = Axes(axes.svg, axes.left, axes.top, axes.width, axes.height, axes.x, (0, 1.15 * float(counts.max())))
    placed.y_axis("architectures", 4, whole=True)
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        x, y = placed.at(float(left), float(count))
        width = placed.across(float(right)) - x - 0.6
        hint = f"{count} at {left:.2f} to {right:.2f} %"
        axes.svg.add("rect", x=x, y=y, width=width, height=placed.bottom - y, class_="bar", hint=hint)
    return placed


def _dots(axes: Axes, accuracies: np.ndarray[Any, Any]) -> Axes:
    for rank, value in enumerate(accuracies):
        axes.dot(float(value), 0.2 + 0.4 * (rank * 0.618 % 1), "cloud", 3.5, f"{value:.2f} %")
    return axes


def _winner(axes: Axes, own: float, each: Sequence[float], sd: float | None) -> None:
    height = axes.y[1] * 0.93
    axes.svg.line(axes.across(own), axes.up(height), axes.across(own), axes.bottom, "mark ours")
    if sd is not None:
        axes.span(height, own - 100 * sd, own + 100 * sd)
    for share in each if len(each) > 1 else ():
        axes.dot(share, height * 0.88, "small", 2.5, f"{share:.2f} %")
    axes.star(own, height, f"{own:.2f} %")


def _keys(marks: dict[str, float], own: float, each: Sequence[float], *, many: bool) -> tuple[Key, ...]:
    bar = ", ± one standard deviation of its trainings (small dots)" if len(each) > 1 else ""
    words = {"mean": "mean of these", "linear": "linear classifier on raw pixels", "count": "cell with most parameters"}
    marked = [Key(f"line {name}", f"{words[name]}, {value:.2f} %") for name, value in marks.items()]
    others = Key("bar part" if many else "cloud", "the others")
    return (Key("star", f"the winner, {percent(own)}{bar}"), others, *marked)
