"""The page of a run is one file that shows what its files hold, whatever the names in them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nascommon.report.next_step import next_step
from nascommon.report.page.files import Files
from nascommon.report.page.page import page
from nascommon.report.page.rendering import script_data
from nascommon.report.verdict import sentences
from tests.report.page.run import BIRTH, EDGES, GENOTYPE, made_up, write
from tests.report.results import results
from tests.report.test_known_truth import ALL_SKIP

SECTIONS = (
    "journey", "cloud", "cells", "film", "weights", "ranking", "gaps", "cost", "collapse", "curves", "behind",
    "results", "settings", "pictures", "limits", "protocol", "provenance",
)  # fmt: skip
NASTY = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>'
LARGEST = 3 * 2**20


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text of every section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.section = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = str(dict(attrs)["id"])

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_all_sections_are_there_and_none_says_that_it_is_missing(tmp_path: Path) -> None:
    html = page(made_up(tmp_path))
    assert tuple(attrs["id"] for tag, attrs in Page(html).tags if tag == "section") == SECTIONS
    assert 'class="missing"' not in html


def test_rules_that_are_broken_come_first(tmp_path: Path) -> None:
    made_up(tmp_path)
    rules = [{"rule": f"rule {verdict}", "source": "a paper", "verdict": verdict, "evidence": "", "advice": ""}
             for verdict in ("kept", "not applicable", "broken", "kept")]  # fmt: skip
    write(tmp_path, "data/evaluate/protocol.json", rules)
    text = Page(page(Files(tmp_path))).texts["protocol"]
    assert "1 broken, 2 kept, 1 not applicable" in text
    assert text.index("rule broken") < text.index("rule kept") < text.index("rule not applicable")


def test_an_option_that_is_named_anywhere_on_the_page_never_breaks_at_its_hyphens(tmp_path: Path) -> None:
    made_up(tmp_path)
    rule = {"rule": "Seeds", "source": "a paper", "verdict": "broken", "evidence": "--table", "advice": "try --params"}
    write(tmp_path, "data/evaluate/protocol.json", [rule])
    html = page(Files(tmp_path))
    for option in ("--protocol", "--table", "--params"):
        assert html.count(option) == html.count(f'<span class="whole">{option}</span>') > 0
    assert ".whole { white-space: nowrap; }" in html


def test_the_verdict_comes_first_with_its_sentences(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    told = sentences(files.json("data/evaluate/results.json"))
    top = Page(page(files)).texts[""]
    assert all(sentence in top for sentence in told.values())
    assert top.index(told["verdict"]) < top.index(told["accuracy"]) < top.index(told["gap"])


def test_what_to_try_next_stands_below_as_in_the_terminal(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    step = next_step(files.json("data/evaluate/results.json"))
    top = Page(page(files)).texts[""]
    assert f"Try next: {step.command}, {step.why}" in top


def test_the_way_of_the_supernet_begins_and_ends_where_the_headline_gap_does(tmp_path: Path) -> None:
    text = Page(page(made_up(tmp_path))).texts["journey"]
    assert "89.0" in text, "the soft supernet, recalibrated"
    assert text.count("anew") == 3, "in the sentence on the gap, and at both its ends"
    assert "90.0" not in text, "the same with the mixture's batch norm, which no part of the gap is"
    assert text.index("89.0") < text.index("30.0") < text.index("80.0")
    assert "+9.0" in text


def test_what_is_said_on_top_is_not_said_again_right_below(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    told, texts = sentences(files.json("data/evaluate/results.json")), Page(page(files)).texts
    for section in ("journey", "cloud"):
        assert not any(sentence in texts[section] for sentence in told.values()), section


def test_a_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    html = page(made_up(tmp_path))
    assert not re.search(r"https?:|url\(|@import|<link|<iframe|\bfetch\(", html)
    addresses = [attrs[name] for _, attrs in Page(html).tags for name in ("src", "href") if name in attrs]
    assert addresses
    assert all(address is not None and address.startswith("#") for address in addresses)


def test_names_are_shown_by_the_letter_and_do_nothing(tmp_path: Path) -> None:
    setting = {"key": "data.path", "here": NASTY, "default": "null"}
    files = made_up(tmp_path, title=NASTY, classes=(NASTY, "dog"), settings=[setting], no_bank=NASTY)
    rule = {"rule": NASTY, "source": "a paper", "verdict": "kept", "evidence": NASTY, "advice": ""}
    write(tmp_path, "data/evaluate/protocol.json", [rule])
    html = page(files)
    plain = Page(page(made_up(tmp_path / "plain")))
    found = Page(html)
    assert found.count("img") == 0
    assert found.count("script") == plain.count("script") == 2
    for section in ("", "pictures", "settings", "protocol"):
        assert NASTY in found.texts[section], section
    assert "2 of 8 edges are <b>skips</b>" in found.texts["collapse"]


def test_what_the_script_reads_cannot_end_the_script() -> None:
    tree = {"operations": ["</script><script>alert(1)</script>", '"quoted" & more']}
    assert "<" not in script_data(tree)
    assert json.loads(script_data(tree)) == tree


def test_what_the_script_reads_is_json_to_a_browser_whatever_a_search_came_to() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"a browser does not read {constant}")

    written = script_data({"strength": [math.nan, math.inf, -math.inf, 0.5], "shots": ["NaN"]})
    assert json.loads(written, parse_constant=refuse) == {"strength": [None, None, None, 0.5], "shots": ["NaN"]}


def test_the_film_has_a_shot_per_epoch_and_marks_what_the_genotype_keeps(tmp_path: Path) -> None:
    (data,) = re.findall(r'<script type="application/json" class="film">(.*?)</script>', page(made_up(tmp_path)))
    film = json.loads(data)
    assert len(film["shots"]) == 5
    assert film["shots"][-1] == "epoch 5, validation accuracy of the supernet 90.00 %, old batch norm"
    for cell, kind in zip(film["cells"], GENOTYPE, strict=True):
        assert [len(frame) for frame in cell["kept"]] == [len(EDGES)] * 5
        kept = {
            (edge, cell["operations"][best]) for edge, best in zip(EDGES, cell["kept"][-1], strict=True) if best >= 0
        }
        nodes = GENOTYPE[kind].by_state
        assert kept == {((one.source, state), one.operation) for state, node in nodes for one in node}


def test_a_long_search_with_many_architectures_stays_small(tmp_path: Path) -> None:
    html = page(made_up(tmp_path, epochs=300, architectures=1000, classes=tuple(f"class {i}" for i in range(1000))))
    assert len(html.encode()) < LARGEST
    assert "970 more classes" in html


def test_every_file_is_named_with_its_fingerprint_and_who_shows_it(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    text = Page(page(files)).texts["provenance"]
    for path in files.read:
        assert path in text
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()[:12] in text
    assert {"data/search/history.parquet", "data/kendall_tau/architectures.csv"} <= files.read.keys()
    assert str(BIRTH["command"]) in text


def drop(root: Path, *paths: str) -> Files:
    for path in paths:
        (root / path).unlink()
    return Files(root)


def test_a_search_that_trained_nothing_leaves_sections_with_the_reason(tmp_path: Path) -> None:
    made_up(tmp_path)
    why = "the search trained no supernet, so there is no search score to rank by"
    run = results(title="random", settings=[], unranked=why)
    run["stages"] |= {"search": {"epochs": 0}, "kendall_tau": {"n": 0, "tau_b": None}}
    write(tmp_path, "data/evaluate/results.json", run)
    write(tmp_path, "data/kendall_tau/ranking.json", {"skipped": why})
    gone = (
        "data/evaluate/protocol.json",
        "data/search/history.parquet",
        "data/search/architecture.parquet",
        "data/evaluate/random.csv",
    )
    texts = Page(page(drop(tmp_path, *gone))).texts
    for section in ("journey", "film", "weights", "ranking", "collapse"):
        assert "trained no supernet" in texts[section], section
    assert "Not compared with random architectures" in texts["cloud"]
    assert "All are the defaults: the method's are its paper's" in texts["settings"]
    assert "Not judged" in texts["protocol"]


def test_what_was_not_retrained_is_not_drawn_as_if_it_were(tmp_path: Path) -> None:
    run: dict[str, Any] = results(accuracies=(), title="darts", settings=[], truth=ALL_SKIP)
    made_up(tmp_path)
    write(tmp_path, "data/evaluate/results.json", run)
    write(tmp_path, "data/evaluate/table.json", [])
    texts = Page(page(Files(tmp_path))).texts
    assert "by others," in texts["journey"]
    assert "All 100 architectures of the space on CIFAR-10" in texts["cloud"]
    assert "cell with most parameters, 93.76 %" in texts["cloud"]
    assert "54.30" in texts["results"]


@pytest.mark.parametrize(
    ("given", "known", "marked"), [(None, True, True), ("PDARTS", True, False), (None, False, False)]
)
def test_the_winner_is_marked_among_ranked_ones_only_where_it_is_of_their_kind(
    given: str | None, known: bool, marked: bool, tmp_path: Path
) -> None:
    made_up(tmp_path, given=given)
    if not known:
        ranking = {"mode": "single_run", "search_score": "inherited_val", "ranking": {}, "provenance": BIRTH}
        write(tmp_path, "data/kendall_tau/ranking.json", ranking)
    assert ("the winner of this search" in Page(page(Files(tmp_path))).texts["ranking"]) == marked


def test_every_kept_edge_of_a_cell_has_an_arrowhead_and_its_operation(tmp_path: Path) -> None:
    html = page(made_up(tmp_path))
    (cells,) = re.findall(r'<section id="cells">.*?</section>', html, re.DOTALL)
    edges = sum(cell.edges for cell in GENOTYPE.values())
    outputs = sum(len(cell.concat) for cell in GENOTYPE.values())
    assert cells.count('class="op-name') == edges
    assert cells.count('class="head') == edges + outputs


def test_the_error_bar_among_many_is_that_of_the_means_that_are_drawn(tmp_path: Path) -> None:
    made_up(tmp_path, architectures=100)
    pairs = pd.DataFrame({"architecture": [f"known {i}" for i in range(100)], "search_score": 0.9, "known": 0.92})
    trainings = {"known_0": 0.91, "known_1": 0.92, "known_2": 0.93}  # one training: 1 point
    write(tmp_path, "data/kendall_tau/architectures.csv", pairs.assign(**trainings))
    text = Page(page(Files(tmp_path))).texts["ranking"]
    assert "± one standard deviation of the mean of 3 trainings, 0.58 points" in text
    once = pairs.rename(columns={"known": "retrain_first"}).assign(retrain_first=0.91, retrain_second=0.93)
    write(tmp_path, "data/kendall_tau/architectures.csv", once)
    text = Page(page(Files(tmp_path))).texts["ranking"]
    assert "± one standard deviation of one training, 1.41 points" in text


def test_error_bars_of_a_few_stay_within_the_picture_and_none_is_drawn_of_what_is_left_out(tmp_path: Path) -> None:
    made_up(tmp_path, architectures=0)
    scores = [0.8, 0.85, 0.9, 0.95]
    pairs = pd.DataFrame({"architecture": [*"abcd"], "search_score": scores, "retrain_first": [0.33, 0.33, 0.34, 0.1]})
    write(tmp_path, "data/kendall_tau/architectures.csv", pairs.assign(retrain_second=[0.2, 0.33, 0.5, 0.1]))
    (svg,) = re.findall(
        r'<svg[^>]*aria-label="Search score and accuracy of 4 .*?</svg>', page(Files(tmp_path)), re.DOTALL
    )
    bars = re.findall(r'<line x1="[\d.]+" y1="([\d.-]+)" x2="[\d.]+" y2="([\d.-]+)" class="whisker"', svg)
    assert len(bars) == 3 * 3  # a line and two ends for each but d, which is further down
    assert all(30 <= float(end) <= 280 for bar in bars for end in bar)
    write(tmp_path, "data/kendall_tau/architectures.csv", pairs.rename(columns={"retrain_first": "known"}))
    assert "from its worst to its best" not in Page(page(Files(tmp_path))).texts["ranking"]


def test_no_line_crosses_a_number(tmp_path: Path) -> None:
    html = page(made_up(tmp_path))
    (svg,) = re.findall(r'<svg[^>]*aria-label="Accuracy of the supernet soft.*?</svg>', html, re.DOTALL)
    shapes = re.findall(r'class="(guide|gap|value)"', svg)
    assert set(shapes[: shapes.index("value")]) == {"guide", "gap"}, "numbers are drawn above the bracket of the gap"
    assert not {"guide", "gap"} & set(shapes[shapes.index("value") :])
    assert re.search(r"svg \.tick, svg \.value \{[^}]*paint-order: stroke", html), "and what is below them is hidden"


def test_where_no_tau_is_defined_no_empty_picture_of_them_is_shown(tmp_path: Path) -> None:
    found = made_up(tmp_path)
    assert "Agreement, with 95 % intervals" in page(found)
    tree = json.loads((tmp_path / "data/evaluate/results.json").read_text(encoding="utf-8"))
    tree["stages"]["kendall_tau"] |= {"tau_b": None, "tau_b_low": None, "tau_b_high": None, "p_value": None}
    write(tmp_path, "data/evaluate/results.json", tree)
    assert "Agreement, with 95 % intervals" not in page(Files(tmp_path))


def test_a_wide_table_says_that_it_can_be_pushed_and_a_histogram_has_bars_in_its_legend(tmp_path: Path) -> None:
    html = page(made_up(tmp_path))
    assert '</table>\n  </div>\n  <p class="push">The table can be pushed sideways.</p>' in html
    (cloud,) = re.findall(r'<section id="cloud">.*?</section>', html, re.DOTALL)
    assert 'class="bar part"' in cloud
    assert 'class="cloud"' not in cloud


def test_settings_are_said_to_differ_from_defaults_of_the_paper_only_where_these_are(tmp_path: Path) -> None:
    text = Page(page(made_up(tmp_path))).texts["settings"]
    assert "0 of the method, whose defaults are its paper's, and 1 other, whose defaults are this program's." in text


def test_a_tail_far_below_all_others_is_left_out_and_counted(tmp_path: Path) -> None:
    made_up(tmp_path)
    accuracies = [*(0.9 + 0.0001 * i for i in range(400)), *[0.1] * 7]
    write(tmp_path, "data/evaluate/random.csv", pd.DataFrame({"source": "a bank", "accuracy": accuracies}))
    assert "7 of them are further left." in Page(page(Files(tmp_path))).texts["cloud"]
    write(tmp_path, "data/evaluate/random.csv", pd.DataFrame({"source": "a bank", "accuracy": accuracies[:400]}))
    assert "further left" not in Page(page(Files(tmp_path))).texts["cloud"]
