"""A study as a page and as Markdown: the same sections, in the look of the page of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from nascommon.report.next_step import RANDOM, NextStep
from nascommon.report.page.rendering import render
from nascommon.report.page.section import Key, Picture, Row, Section, Table
from nascommon.report.page.svg import Axes, Svg, padded
from nascommon.report.study import ACCURACY, StudyRun, study_table
from nascommon.report.study_tables import (
    RANKED_LEGEND,
    REST_LEGEND,
    gaps_legend,
    gaps_table,
    ranked_table,
    rest_table,
    runs_table,
)
from nascommon.report.study_words import BADGES, findings, outcome

HEIGHT, WIDTH, LEFT, TOP = 34.0, 460.0, 92.0, 10.0
"""Units of the plot: a method's row, the whole width, and what is left of and above the rows."""
RANKED = (
    "By mean test accuracy after training from scratch; means that are equal as printed share a rank. A rank is no "
    "finding: what is shown stands above. A seed changes all that is random at once, so the spread is of the whole run."
)
GAPS = (
    "Mean over the seeds with its 95 % interval; of what one run alone has measured, the value with that run's own "
    "interval, if there is one. n: architectures that a run has measured a tau on."
)
CAPTION = "The interval is Student's, of the mean over the seeds; a method with one run has none."


@dataclass(frozen=True)
class Facts:
    """What a study was run with, each as names and values for a person.

    Attributes:
        figures: name, value and words of the few settings that stand at the top.
        same: settings that were the same in all runs.
        changed: key, value and default of those that are not the defaults, but for the methods' own.
        own: the same of the methods' own.
        birth: command, commit, hardware, torch and more of what the figures come from.
        step: what to try next, if anything.
    """

    figures: Sequence[tuple[str, str, str]]
    same: Mapping[str, str]
    changed: Sequence[Row]
    own: Sequence[Row]
    birth: Mapping[str, str]
    step: NextStep | None = None


def to_html(title: str, runs: Sequence[StudyRun], facts: Facts, missing: Sequence[str] = ()) -> str:
    """Write the page of a study: one file that needs nothing else.

    Args:
        title: of the study.
        runs: that have finished.
        facts: what they were run with.
        missing: runs that have not finished, in words.
    """
    verdict, *more = told(runs, missing)
    sentences = {"verdict": verdict} | {str(number): sentence for number, sentence in enumerate(more)}
    kind = outcome(runs)
    return render(
        kind="report of a study", title=title, outcome=kind, badge=BADGES[kind], figures=facts.figures,
        told=sentences, sections=sections(runs, facts), birth=facts.birth, step=facts.step,
    )  # fmt: skip


def to_markdown(title: str, runs: Sequence[StudyRun], facts: Facts, missing: Sequence[str] = ()) -> str:
    """Write the same as Markdown, without the picture; arguments as those of the page."""
    blocks = [f"# {title}", "\n".join(f"- {sentence}" for sentence in told(runs, missing))]
    blocks += [f"Try next: `{facts.step.command}`, {facts.step.why}."] if facts.step is not None else []
    for section in sections(runs, facts):
        blocks += [f"## {section.title}", *section.text, *filter(None, [section.missing])]
        for table in section.tables:
            grid = tabulate(
                [list(row) for row in table.rows], list(table.head), tablefmt="github", disable_numparse=True
            )
            blocks += [*([f"{table.caption}:"] if table.caption else []), grid]
        blocks += ["\n".join(f"- {item}" for item in section.items)] if section.items else []
    return "\n\n".join([*blocks, ""])


def told(runs: Sequence[StudyRun], missing: Sequence[str]) -> list[str]:
    """Return what the study shows, the verdict first, and what it lacks."""
    return [*findings(runs), *([f"Not finished: {', '.join(missing)}."] if missing else [])]


def sections(runs: Sequence[StudyRun], facts: Facts) -> list[Section]:
    """Return the parts of the report in their order."""
    table = study_table(runs)
    same = Table(("setting", "here"), list(facts.same.items()), "The same in all runs")
    changed = Table(("setting", "here", "default"), facts.changed, "The same in all runs, where not the default")
    own = Table(("setting", "here", "default"), facts.own, "Of the methods, where not the papers'")
    birth = Table(("what", "which"), [(name, value) for name, value in facts.birth.items()])
    return [
        Section("ranked", "Methods by test accuracy", (RANKED,), dot_plot(runs), (ranked_table(table),), RANKED_LEGEND),
        gaps(table),
        Section("rest", "Seeds, cost and size", (), (), (rest_table(table),), REST_LEGEND),
        Section("settings", "Settings", tables=(same, *(one for one in (changed, own) if one.rows))),
        Section("provenance", "Where the numbers come from", tables=(birth, runs_table(runs))),
    ]


def gaps(table: pd.DataFrame) -> Section:
    """Return the gaps with their meaning, or say that there are none."""
    if not (legend := gaps_legend(table)):
        return Section("their-gaps", "Gaps", missing="No search trained a supernet, so there are none.")
    return Section("their-gaps", "Gaps", (GAPS,), (), (gaps_table(table),), legend)


def dot_plot(runs: Sequence[StudyRun]) -> tuple[Picture, ...]:
    """Draw test accuracy: a dot for each run, the mean with its interval for each method, the best at the top.

    A dashed line is the mean of random search. No picture where no accuracy is known.
    """
    table = study_table(runs).dropna(subset=[ACCURACY])
    if table.empty:
        return ()
    height = HEIGHT * len(table)
    values = [run.accuracy for run in runs if not math.isnan(run.accuracy)]
    values += [*table["95 % low"].dropna(), *table["95 % high"].dropna()]
    svg = Svg(WIDTH, TOP + height + 34, "Test accuracy of every run, by method")
    axes = Axes(svg, LEFT, TOP, WIDTH - LEFT - 14, height, padded(values), (len(table), 0.0))
    axes.x_axis("test accuracy, %")
    keys = [Key("ours", "a run"), Key("line mark", "mean over the seeds")]
    keys += [Key("whisker", "its 95 % interval")] if table["95 % low"].notna().any() else []
    for value in table[table["method"] == RANDOM][ACCURACY]:
        svg.line(axes.across(value), TOP, axes.across(value), axes.bottom, "guide")
        keys.append(Key("line guide", "mean of random search"))
    for place, (_, row) in enumerate(table.iterrows()):
        _draw_method(axes, place + 0.5, row, runs)
    return (Picture(svg.markup(), caption=CAPTION, keys=tuple(keys)),)


def _draw_method(axes: Axes, y: float, row: pd.Series[float], runs: Sequence[StudyRun]) -> None:
    method = str(row["method"])
    axes.svg.text(axes.left - 8, axes.up(y) + 4, method, "", "end")
    if not math.isnan(row["95 % low"]):
        axes.span(y, row["95 % low"], row["95 % high"])
    for run in runs:
        if run.method == method and not math.isnan(run.accuracy):
            axes.dot(run.accuracy, y, "ours run", 4.5, f"{method}, seed {run.seed}: {run.accuracy:.2f} %")
    mean = axes.across(row[ACCURACY])
    axes.svg.line(mean, axes.up(y) - 9, mean, axes.up(y) + 9, "mark")
