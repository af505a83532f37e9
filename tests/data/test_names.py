"""A class is called the same on every system, and its name can be printed."""

from __future__ import annotations

import os

import pytest

from nascommon.data.names import label

COMPOSED, APART = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("cat", "cat"),
        (COMPOSED, COMPOSED),
        (APART, COMPOSED),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("a\nb\x7f", r"a\nb\x7f"),
        ("日本 🐈\u200d⬛", "日本 🐈\u200d⬛"),
    ],
)
def test_a_class_is_called_in_composed_letters_that_can_be_printed(name: str, called: str) -> None:
    assert label(name) == called
    assert label(called) == called
    called.encode()
