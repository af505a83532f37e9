"""A picture that is torn behind its header is found before anything is trained, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nascommon.data import verifying
from nascommon.data.prepared import Prepared
from nascommon.data.verifying import decode_all
from nascommon.settings import UserError

Make = Callable[..., Prepared]


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-80])


def test_prepare_decodes_every_streamed_picture_test_ones_too(make: Make, folder: Path) -> None:
    for name in ("cat/01.png", "cat/03.png", "dog/07.png"):
        tear(folder / name)
    with pytest.raises(UserError) as caught:
        make(source="image_folder", path=str(folder), storage="files", size=8)
    assert str(caught.value).startswith("3 of 12 pictures cannot be used: ")
    assert all(f"{folder / name}: cannot be decoded" in str(caught.value) for name in ("cat/01.png", "dog/07.png"))


def test_headers_do_not_decode_and_say_so(make: Make, folder: Path) -> None:
    settings = {"source": "image_folder", "path": str(folder), "storage": "files", "size": 8, "verify": "headers"}
    tear(folder / make(**settings).part("test").samples.names[0])  # type: ignore[attr-defined]  # files
    lines: list[str] = []
    make(**settings, report=lines.append)
    assert any(line.startswith("data.verify: headers: not every picture was decoded: a file torn") for line in lines)
    with pytest.raises(UserError, match="1 of 12 pictures cannot be used"):
        make(**{**settings, "verify": "decode"})


@pytest.mark.slow
def test_processes_find_what_one_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    alone = decode_all(folder, names)
    monkeypatch.setattr(verifying, "PIECE", 5)
    monkeypatch.setattr(verifying, "cores", lambda: 2)
    together = decode_all(folder, names)
    for column in ("sides", "gray", "digests"):
        assert np.array_equal(getattr(together, column), getattr(alone, column))
    assert len(np.unique(alone.digests, axis=0)) == len(alone) == 12
    tear(folder / names[-1])
    with pytest.raises(UserError, match=rf"^1 of 12 pictures cannot be used: {folder / names[-1]}: cannot be decoded"):
        decode_all(folder, names)
