"""The look that all pages share: one template with its style sheet, and sentences in which no option breaks in two."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

CODE: Final = re.compile(r"`([^`\n]+)`")
OPTION: Final = re.compile(r"[(\"']*(--?[a-z]|\d{4}-\d\d-)")
"""How a word of a sentence begins that is an option of a command, or a date."""
LONGEST: Final = 36
"""Letters of the longest word that is never broken: a phone is hardly wider."""


def render(**content: Any) -> str:
    """Return a page by ``templates/report.html``, which names its content, as HTML."""
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["said"] = said
    return environment.get_template("report.html").render(**content, script_data=script_data)


def said(text: str) -> Markup:
    """Return a sentence in which `code` looks like code, and no option or word of code breaks at its hyphens.

    A browser breaks a line after any hyphen, also the second of ``--protocol``.
    """
    sentence, code = CODE.split(text)[::2], CODE.split(text)[1::2]
    parts = [_whole(sentence[0], in_code=False)]
    for inside, after in zip(code, sentence[1:], strict=True):
        parts += [Markup("<code>{}</code>").format(_whole(inside, in_code=True)), _whole(after, in_code=False)]
    return Markup("").join(parts)


def _whole(text: str, *, in_code: bool) -> Markup:
    """Keep the words whole that are, or may be, part of a command."""
    return Markup("").join(
        Markup('<span class="whole">{}</span>').format(word)
        if "-" in word and len(word) <= LONGEST and (in_code or OPTION.match(word))
        else escape(word)
        for word in re.split(r"(\s+)", text)
    )


def script_data(tree: object) -> Markup:
    """Return JSON that no text in it can end early: HTML looks for ``</script`` in it before anything else does.

    NaN and infinities, which Python writes and no browser reads, become null.
    """
    finite = json.loads(json.dumps(tree), parse_constant=lambda _: None)
    text = json.dumps(finite, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 -- see above
