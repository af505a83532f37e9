"""Names on disk are bytes; a class name is text that reads the same on every system and can be printed."""

from __future__ import annotations

import os
import unicodedata


def label(name: str) -> str:
    r"""Return the class that a folder's name stands for.

    Letters are composed (Unicode NFC), since macOS takes them apart and Linux does not. Bytes that are not UTF-8 are
    written as ``\xe9``, control characters as ``\n``.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(map(_visible, unicodedata.normalize("NFC", text)))


def _visible(letter: str) -> str:
    return letter.encode("unicode_escape").decode() if unicodedata.category(letter) == "Cc" else letter
