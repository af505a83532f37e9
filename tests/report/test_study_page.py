"""The page of a study and its Markdown say the same: what was found, with which settings, and where it comes from."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from nascommon.report.next_step import NextStep
from nascommon.report.study import StudyRun
from nascommon.report.study_page import Facts, dot_plot, to_html, to_markdown
from nascommon.report.study_words import findings
from tests.report.results import KENDALL, results
from tests.report.test_study import SIX, runs

FACTS = Facts(
    figures=[("data", "digits", "160 training pictures of 8 x 8 pixels")],
    same={"settings": "presets/smoke.yaml", "search": "space darts, 3 cells, 2 channels, 2 nodes, 3 epochs"},
    changed=[("search.cells", "3", "8")],
    own=[("methods.darts.epochs", "3", "50")],
    birth={"command": "python -m stages.study --methods 'darts random'", "commit": "13c1898a", "hardware": "a computer",
           "torch": "2", "written": "2026-11-27 10:00 UTC"},
)  # fmt: skip
FEW = {**KENDALL, "n": 3, "tau_b": 0.33, "tau_b_low": None, "tau_b_high": None}


def page(some: list[StudyRun], facts: Facts = FACTS) -> str:
    return to_html("A study", some, facts, ["darts seed 7"])


class Page(HTMLParser):
    """What a browser would load, the tags that are open at the end, and the text by section."""

    VOID = frozenset({"meta", "line", "circle", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.texts: dict[str, str] = {}
        self.section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag == "section":
            self.section = str(dict(attrs)["id"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = f"{self.texts.get(self.section, '')}{data} "


@pytest.mark.parametrize("write", [to_html, to_markdown])
def test_settings_and_provenance_stand_in_the_report(write: object) -> None:
    ended = [StudyRun(run.method, run.seed, run.results, "0123456789", "2026-11-27 09:50") for run in SIX]
    text = write("A study", ended, FACTS, [])  # type: ignore[operator]
    for words in ("presets/smoke.yaml", "3 cells, 2 channels", "search.cells", "methods.darts.epochs", "13c1898a",
                  "a computer", "2026-11-27", "10:00 UTC", "0123456", "09:50"):  # fmt: skip
        assert words in text, words


def test_a_run_names_its_machine_where_not_all_runs_are_of_one() -> None:
    first, second = (
        StudyRun("darts", seed, results(provenance={"hardware": name, "torch": "2", "precision": "float32"}))
        for seed, name in enumerate(("an old one", "a new one"))
    )
    assert "precision" not in page([first, second])
    assert "hardware</th>" in page([first, second])
    assert "an old one" in page([first, second])
    assert "hardware</th>" not in page([first, first])


def test_the_page_tells_the_findings_first_and_each_section_has_its_part() -> None:
    texts = Page(page(SIX)).texts
    assert list(texts) == ["", "ranked", "their-gaps", "rest", "settings", "provenance"]
    assert all(sentence in texts[""] for sentence in findings(SIX))
    assert "no difference is shown" in texts[""]
    assert "160 training pictures of 8 x 8 pixels" in texts[""]
    assert "Not finished: darts seed 7." in texts[""]
    assert "95.67 ± 0.82" in texts["ranked"]
    assert "94.81 to 96.52" in texts["ranked"]
    assert "1m32s" in texts["rest"]


@pytest.mark.parametrize("write", [to_html, to_markdown])
def test_what_to_try_next_is_a_command_to_paste(write: object) -> None:
    step = replace(FACTS, step=NextStep("make study SEEDS=1", "more seeds"))
    assert "make study SEEDS=1" in write("A study", SIX, step, [])  # type: ignore[operator]
    assert "Try next" not in write("A study", SIX, FACTS, [])  # type: ignore[operator]


def test_a_tau_is_given_with_its_interval_and_its_number_of_architectures() -> None:
    def tau(*seeds: int) -> str:
        some = [
            StudyRun(
                "darts", seed, results(random=[90.0] * 40, stages={**SIX[0].results["stages"], "kendall_tau": FEW})
            )
            for seed in seeds
        ]
        return re.sub(r"\s+", " ", Page(page(some)).texts["their-gaps"])

    assert "0.33 (no interval), n = 3" in tau(0)
    assert "0.33 [0.33 to 0.33], n = 3" in tau(0, 1)
    assert "0.10 [-0.02 to 0.21], n = 200" in re.sub(r"\s+", " ", Page(page(runs(darts=[0.9]))).texts["their-gaps"])
    assert "depth tau" not in tau(0), "nobody has measured it"


def test_a_run_that_could_not_rank_is_no_measurement_of_a_tau() -> None:
    unranked = {"n": 2, "tau_b": None}
    stages = [SIX[0].results["stages"], {**SIX[0].results["stages"], "kendall_tau": unranked}]
    two = [StudyRun("darts", seed, results(random=[90.0] * 40, stages=each)) for seed, each in enumerate(stages)]
    text = re.sub(r"\s+", " ", Page(page(two)).texts["their-gaps"])
    assert "n = 200" in text, "not 2"


def test_without_a_supernet_there_are_no_gaps_to_tell_of() -> None:
    nothing = {"n": 0, "tau_b": None}
    stages = {**SIX[0].results["stages"], "search": {"epochs": 0}, "kendall_tau": nothing}
    drawn = [StudyRun("random", 0, results(random=[90.0] * 40, stages=stages))]
    for text in (page(drawn), to_markdown("A study", drawn, FACTS)):
        assert "No search trained a supernet" in text
        assert "structure tau" not in text


def test_markdown_has_findings_tables_and_what_is_missing() -> None:
    text = to_markdown("A study", SIX, FACTS, ["darts seed 7"])
    assert text.startswith("# A study\n\n- No method is shown")
    assert "- Not finished: darts seed 7.\n" in text
    assert re.search(r"\| 1 +\| da2s +\| 95.67 ± 0.82 +\| 94.81 to 96.52 ", text)
    assert re.search(r"\| search.cells +\| 3 +\| 8 ", text)


def test_the_page_is_whole_needs_no_network_and_escapes_names() -> None:
    odd = [StudyRun("<b>&", run.seed, run.results) if run.method == "darts" else run for run in SIX]
    html = to_html('"<script>"', odd, FACTS)
    found = Page(html)
    assert found.open == []
    assert all(address.startswith("#") for address in found.loads)
    assert "<b>" not in html
    assert "<script" not in html
    assert "&lt;b&gt;&amp;" in html
    assert '<span class="whole">--methods</span>' in html


def test_no_table_is_wider_than_the_page() -> None:
    """A row of the main tables fits a page of 1080 pixels: about 130 letters of its font, with room between columns."""
    text = to_markdown("A study", SIX, FACTS)
    ranked, gaps, rest = (text.partition(f"## {title}")[2] for title in ("Methods", "Gaps", "Seeds"))
    for table in (ranked, gaps, rest):
        assert max(len(line) for line in table.partition("\n## ")[0].splitlines() if line.startswith("|")) < 130


def test_every_run_is_a_dot_within_the_plot() -> None:
    (picture,) = dot_plot([*SIX, *runs(gdas=[0.5])])
    root = ET.fromstring(picture.svg)
    dots = [element for element in root if "run" in str(element.get("class")).split()]
    assert len(dots) == 19
    width = float(root.attrib["viewBox"].split()[2])
    assert all(0 < float(dot.attrib["cx"]) < width for dot in dots)
    assert re.findall(r"gdas, seed 0: 50.00 %", picture.svg)
    assert len([element for element in root if element.get("class") == "guide"]) == 1
    assert dot_plot([StudyRun("darts", 0, results(accuracies=()))]) == ()
