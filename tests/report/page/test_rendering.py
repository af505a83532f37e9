"""A sentence on a page is the sentence, whatever is in it, and what a reader would paste never breaks at a hyphen."""

from __future__ import annotations

import pytest

from nascommon.report.page.rendering import LONGEST, said

CPU = "presets/nasbench201-cpu.yaml"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a plain, well-made sentence", "a plain, well-made sentence"),
        (
            "python -m stages.check --protocol judges",
            'python <span class="whole">-m</span> stages.check <span class="whole">--protocol</span> judges',
        ),
        ("ended 2026-11-27 10:00", 'ended <span class="whole">2026-11-27</span> 10:00'),
        ("(--table), too", '<span class="whole">(--table),</span> too'),
        ("run `dvc repro`.", "run <code>dvc repro</code>."),
        (f"`cp {CPU} params.yaml`", f'<code>cp <span class="whole">{CPU}</span> params.yaml</code>'),
        ("from -0.2 to 0.3 - no more", "from -0.2 to 0.3 - no more"),
        ("<b>&`--<i>`", '&lt;b&gt;&amp;<code><span class="whole">--&lt;i&gt;</span></code>'),
        ("a lone ` and --x", 'a lone ` and <span class="whole">--x</span>'),
        ("`" + LONGEST * "-" + "-`", "<code>" + LONGEST * "-" + "-</code>"),
    ],
)
def test_options_and_words_of_code_stay_whole_and_all_is_escaped(text: str, html: str) -> None:
    assert said(text) == html
