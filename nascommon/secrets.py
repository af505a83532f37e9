"""Secrets in an address are masked wherever a text leaves the program."""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = "***"
_USERINFO = re.compile(r"(?P<before>\w://)(?P<userinfo>[^\s/]\S*)(?=@)")
"""Up to the last ``@``, because a password may hold one; a file's address begins with a third slash and has none."""
_QUERY = re.compile(
    r"(?P<before>(?:[?&;#]|%3[fFbB]|%26)[\w.-]*(?:token|pass|pwd?|secret|key|auth|code|credential|sig)[\w.-]*(?:=|%3D))"
    r"(?P<value>.+?)(?=[&;\s]|%3B|%26|['\"]?$|['\"][\s,;)\]}])",
    re.IGNORECASE,
)


def masked(text: str, address: str = "") -> str:
    """Return ``text`` without user names, passwords and secret query values of the addresses in it.

    What is secret in ``address`` is masked even where it stands without the rest, as in the message of a driver.
    """
    for secret in sorted(_secrets(address), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _USERINFO.sub(rf"\g<before>{MASK}", text)
    return _QUERY.sub(rf"\g<before>{MASK}", text)


def ambiguous(address: str) -> bool:
    """Return whether user name or password hold a character at which addresses are cut, which would leak parts."""
    found = _USERINFO.search(address)
    return found is not None and re.search(r"[/?#@\s]", found["userinfo"]) is not None


def _secrets(address: str) -> set[str]:
    found = {match["value"] for match in _QUERY.finditer(address)}
    if userinfo := _USERINFO.search(address):
        found.add(userinfo["userinfo"].partition(":")[2])
    return {form for secret in found if secret for form in (secret, unquote(secret))}
