"""The page of a run: one HTML file that needs nothing else, made of the run's files alone."""

from __future__ import annotations

from collections.abc import Callable

from nascommon.report.known_truth import Truth, known
from nascommon.report.next_step import next_step
from nascommon.report.page import accuracy, cells, cost, course, film, ranking, tables
from nascommon.report.page.files import Files
from nascommon.report.page.rendering import render
from nascommon.report.page.section import Section
from nascommon.report.verdict import badge, headline, outcome, sentences
from nascommon.runtime.progress import duration, percent, points, share_worse

SECTIONS: tuple[Callable[[Files], Section], ...] = (
    accuracy.journey, accuracy.cloud, cells.cells, film.film, film.weights, ranking.ranking, tables.gaps, cost.cost,
    course.collapse, course.curves, tables.behind, tables.outcomes, tables.settings, tables.pictures, tables.limits,
    tables.protocol,
)  # fmt: skip
"""In the order of the page; provenance, which tells of all of them, comes last."""


def page(files: Files) -> str:
    """Return the page of a run whose ``evaluate`` has written its results, as HTML.

    Raises:
        UserError: a file that it needs is missing or torn.
    """
    results = files.json(accuracy.RESULTS)
    files.sources()
    sections = [make(files).of(files.sources()) for make in SECTIONS]
    sections.append(tables.provenance(files, sections))
    head, told = headline(results), sentences(results)
    figures = [
        ("accuracy", _written(head.accuracy, percent), "of the network, trained from scratch"),
        ("gap", _written(head.gap, points), "lost when the supernet is cut"),
        ("better than", _written(head.percentile, share_worse), _of_whom(results["truth"])),
        ("Kendall tau", _written(head.tau, "{:.2f}".format), "of search score and truth"),
        ("cost", duration(head.seconds), "search, selection, retraining"),
    ]
    return render(
        kind="report of one run", title=results["title"], outcome=outcome(results), badge=badge(results),
        figures=figures, told=told, sections=sections, birth=results["provenance"], step=next_step(results),
    )  # fmt: skip


def _written(value: float | None, write: Callable[[float], str]) -> str:
    return "–" if value is None else write(value)


def _of_whom(truth: Truth | None) -> str:
    return "of random architectures" if known(truth) is None else "of all architectures"
