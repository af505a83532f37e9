"""The README's Python runs as it stands."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from tests.stages.project import ROOT, Project


@pytest.mark.slow
def test_the_block_of_python_searches_and_counts_what_it_found(prepared: Project) -> None:
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    out = io.StringIO()
    with contextlib.chdir(prepared.folder), contextlib.redirect_stdout(out):
        exec(compile(block, "README.md", "exec"), {})
    found = prepared.json("data/discretize/genotype.json")
    assert (found["provenance"]["method"], found["provenance"]["seed"]) == ("da2s", 3)
    assert int(out.getvalue().split()[-1]) > 1000
