"""A study ranks methods, tests them in pairs, and says what so few seeds cannot show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from nascommon.report.study import COLUMNS, LEGEND, StudyRun, findings, study_table, to_markdown, written
from nascommon.report.study_page import dot_plot, to_html
from tests.report.results import results


def runs(**accuracies: list[float]) -> list[StudyRun]:
    """Return runs by method, seeds from 0 on; accuracies are shares."""
    return [
        StudyRun(method, seed, results(random=[90.0] * 40, accuracies=(accuracy,)))
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


SIX = runs(
    da2s=[0.95, 0.96, 0.95, 0.97, 0.96, 0.95], darts=[0.90, 0.93, 0.91, 0.92, 0.90, 0.94],
    random=[0.92, 0.92, 0.92, 0.92, 0.92, 0.92],
)  # fmt: skip


def test_the_table_is_ranked_and_its_figures_are_those_of_the_runs() -> None:
    table = study_table(SIX).set_index("method")
    assert list(table.index) == ["da2s", "random", "darts"]
    assert list(table["rank"]) == [1, 2, 3]
    best = table.loc["da2s"]
    assert best["accuracy %"] == pytest.approx(95.6667, abs=1e-4)
    assert best["± sd"] == pytest.approx(0.8165, abs=1e-4)
    # t(0.975, 5) = 2.5706 times 0.8165 / sqrt(6)
    assert best["95 % high"] - best["accuracy %"] == pytest.approx(0.8569, abs=1e-4)
    assert best["minus random"] == pytest.approx(3.6667, abs=1e-4)
    assert best["p"] == 2 / 2**6
    assert best["p (Holm)"] == 4 / 2**6
    assert best["seconds"] == 92.0
    assert best["gap, points"] == pytest.approx(9.0)
    assert table["p"].isna().to_dict() == {"da2s": False, "darts": False, "random": True}


def test_all_that_is_explained_is_a_column() -> None:
    # Columns in which nothing is known are left out, under the names of COLUMNS.
    assert set(LEGEND) <= {*written(study_table(SIX)).columns, *COLUMNS}


def test_too_few_seeds_are_told_and_enough_show_a_difference() -> None:
    words = " ".join(findings(SIX))
    assert "No method is shown" in words
    assert "With 6 seeds p cannot fall below 0.0312" in words
    assert "7 seeds are needed" in words
    seventh = runs(da2s=[0.95] * 7, random=[0.92] * 7)
    shown = findings(seventh)
    assert shown[0] == "da2s is better than random search by 3.00 points (p = 0.016 by Holm)."
    assert "cannot fall" not in " ".join(shown)


def test_one_run_shows_no_spread_and_without_random_nothing_is_tested() -> None:
    words = findings(runs(darts=[0.9], da2s=[0.91]))
    assert words[0].endswith("add random to the methods.")
    assert words[1].startswith("One run shows neither spread nor interval (da2s, darts)")
    table = study_table(runs(darts=[0.9]))
    assert table[["± sd", "95 % low", "p"]].isna().all(axis=None)


def test_an_interval_stays_within_what_an_accuracy_can_be() -> None:
    row = study_table(runs(darts=[0.02, 0.2])).iloc[0]
    assert (row["95 % low"], row["accuracy %"]) == (0.0, pytest.approx(11.0))
    assert study_table(runs(darts=[0.98, 0.8])).iloc[0]["95 % high"] == 100.0


def test_pairs_are_of_the_same_seed_whatever_the_order() -> None:
    shuffled = sorted(SIX, key=lambda run: (-run.seed, run.method))
    assert study_table(shuffled).equals(study_table(SIX))
    lacking = [run for run in SIX if not (run.method == "random" and run.seed > 2)]
    assert study_table(lacking).set_index("method").loc["da2s", "p"] == 0.25


def test_what_is_not_retrained_has_no_rank_of_its_own() -> None:
    unknown = [StudyRun("darts", 0, results(accuracies=()))]
    assert [sentence[:31] for sentence in findings(unknown)] == ["No architecture was retrained a"]
    assert dot_plot(unknown) == ""
    both = study_table([*unknown, *runs(da2s=[0.9])])
    assert list(both["method"]) == ["da2s", "darts"]


def test_markdown_has_findings_table_and_what_is_missing() -> None:
    text = to_markdown("A study", SIX, ["darts seed 7"])
    assert text.startswith("# A study\n")
    assert "Not finished: darts seed 7." in text
    assert re.search(r"\| 1 +\| da2s +\| 0, 1, 2, 3, 4, 5 +\| 95.67 ", text)
    assert "1m32s" in text


class Tags(HTMLParser):
    """What a browser would load, and the tags that are open at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "line", "circle"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"meta", "line", "circle"}:
            assert self.open.pop() == tag


def test_the_page_is_whole_needs_no_network_and_escapes_names() -> None:
    odd = [StudyRun("<b>&", run.seed, run.results) if run.method == "darts" else run for run in SIX]
    page = to_html('"<script>"', odd)
    tags = Tags(page)
    assert (tags.open, tags.loads) == ([], [])
    assert "<b>" not in page
    assert "<script" not in page
    assert "&lt;b&gt;&amp;" in page


def test_every_run_is_a_dot_within_the_plot() -> None:
    drawn = dot_plot([*SIX, *runs(gdas=[0.5])])
    root = ET.fromstring(drawn)
    dots = [element for element in root if element.get("class") == "run"]
    assert len(dots) == 19
    width = float(root.attrib["viewBox"].split()[2])
    assert all(0 < float(dot.attrib["cx"]) < width for dot in dots)
    assert re.findall(r"gdas, seed 0: 50.00 %", drawn)
    assert len([element for element in root if element.get("class") == "random"]) == 1
