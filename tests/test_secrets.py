"""A password is masked wherever it stands, and what is no password is left as it is."""

from __future__ import annotations

import pytest

from nascommon.secrets import ambiguous, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/a", "http://***@host:5000/a"),
        ("postgresql://user:p@s3/cret@host/db", "postgresql://***@host/db"),
        ("http://user:p/w0rd@host", "http://***@host"),
        ("http://user:p@host?x=1&user:q@host", "http://***@host"),
        ("mysql+pymysql://:only@host/db failed", "mysql+pymysql://***@host/db failed"),
        ("http://host/?token=abc", "http://host/?token=***"),
        ("http://u:p@host/?pass=a", "http://***@host/?pass=***"),
        ("x?pw=a&b=1 x?passphrase=a x?code=a x#token=a", "x?pw=***&b=1 x?passphrase=*** x?code=*** x#token=***"),
        ("x?token=a\"b c x?token=a'b", "x?token=*** c x?token=***"),
        ("at 'x?token=a' failed", "at 'x?token=***' failed"),
        ("x:///?odbc_connect=UID%3Du%3BPWD%3Da%3BServer%3Dq", "x:///?odbc_connect=UID%3Du%3BPWD%3D***%3BServer%3Dq"),
        ("no address: key=3", "no address: key=3"),
        ("https://host/a?b=1&password=p#w&c=2", "https://host/a?b=1&password=***&c=2"),
        ("x?api_key=1&sslPassword=2&X-Amz-Signature=3", "x?api_key=***&sslPassword=***&X-Amz-Signature=***"),
        ("'http://a:b@c' and 'http://d:e@f'", "'http://***@c' and 'http://***@f'"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("file:///a@b", "file:///a@b"),
        ("write to me@host", "write to me@host"),
        ("max retries with url: /api/2.0/mlflow?name=a", "max retries with url: /api/2.0/mlflow?name=a"),
    ],
)
def test_userinfo_and_secret_values_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_what_is_secret_in_an_address_is_masked_where_it_stands_alone() -> None:
    address = "postgresql://me:s%40cret@host/db?token=abc123"
    assert masked("login of me with s@cret, s%40cret or abc123 failed", address) == (
        "login of me with ***, *** or *** failed"
    )


def test_an_address_that_is_cut_within_its_password_is_known() -> None:
    for address in (
        "postgresql://user:p@s3/cret@host/db",
        "http://user:p/w0rd@host",
        "http://u:a?b@h",
        "http://u:a#b@h",
    ):
        assert ambiguous(address), address
    for address in ("http://u:p%40@host/a", "http://host/a", "sqlite:////a@b/c", "sqlite:///mlflow.db", "none"):
        assert not ambiguous(address), address
