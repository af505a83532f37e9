"""On a phone the page itself is not wider than the screen, and a table that is pushed keeps what its rows are of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nascommon.report.page.page import page
from tests.report.page.run import made_up

WIDTH = 390
"""Pixels of many phones."""
FRAME = f"""<body><iframe src="report.html" width="{WIDTH}" height="900" style="border: 0"></iframe>
<script>onmessage = told => {{ document.title = told.data; }};</script></body>"""
"""The narrowest window of a browser without a screen is wider than a phone."""
MEASURE = """<script>
const boxes = [...document.querySelectorAll(".scroll")];
boxes.forEach(box => { box.scrollLeft = 1e6; });
const pushed = boxes.filter(box => box.scrollLeft > 0);
const left = box => box.getBoundingClientRect().left;
parent.postMessage(JSON.stringify({
  page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  first: pushed.flatMap(box => [...box.querySelectorAll("tr > :first-child")].map(cell => left(cell) - left(box))),
  settings: document.querySelector("#settings .scroll").scrollLeft,
}), "*");
</script></body>"""


@pytest.mark.slow
def test_what_a_row_is_of_stays_in_sight(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    settings = [{"key": "methods.darts.architecture.alpha_delay", "here": "2", "default": "0, as released"}]
    report = page(made_up(tmp_path, settings=settings)).replace("</body>", MEASURE)
    (tmp_path / "report.html").write_text(report, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom")
    dom = subprocess.run(
        [browser, *words, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, check=True, timeout=100
    ).stdout
    (told,) = re.findall(r"<title>(\{.*?\})</title>", dom)
    found = json.loads(told)
    assert found["page"] == 0
    assert found["first"], "a page without a wide table shows nothing"
    assert max(map(abs, found["first"])) < 1
    assert found["settings"] == 0, "the names of settings break, so that they fit"
