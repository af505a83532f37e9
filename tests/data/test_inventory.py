"""Content is what tells files apart, and it is read no more often than needed."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from nascommon.data import inventory as module
from nascommon.data.inventory import inventory
from nascommon.data.pictures import DIGEST_BYTES
from nascommon.data.walk import files_below
from nascommon.settings import UserError

Draw = Callable[..., None]
NAMES = ["cat/00.png", "cat/01.png", "dog/06.png"]


def file_digests(root: Path, names: list[str]) -> list[bytes]:
    """The digests as objects."""
    return [digest.tobytes() for digest in module.file_digests(root, names)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read; times are trusted at once."""
    done: list[str] = []
    digest = module._digest

    def noticed(path: str) -> bytes:
        done.append(Path(path).name)
        return digest(path)

    monkeypatch.setattr(module, "_digest", noticed)
    monkeypatch.setattr(module, "SETTLED", 0)
    return done


def test_a_file_that_did_not_change_is_read_once(folder: Path, read: list[str]) -> None:
    first = file_digests(folder, NAMES)
    assert sorted(read) == ["00.png", "01.png", "06.png"]
    assert file_digests(folder, NAMES) == first
    assert file_digests(folder, NAMES[:1]) == first[:1]
    assert len(read) == 3
    assert len(set(first)) == 3


def replaced(path: Path) -> None:
    """Other content of the same size, with the times of the old."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchanged(path: Path) -> None:
    """A neighbour of the same size and time takes its name."""
    other = path.with_name("other.png")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [replaced, exchanged])
def test_other_content_of_equal_size_and_time_is_noticed(
    folder: Path, read: list[str], change: Callable[[Path], None]
) -> None:
    first, whole = file_digests(folder, NAMES), inventory(folder)
    read.clear()
    change(folder / NAMES[1])
    second = file_digests(folder, NAMES)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]
    assert read == ["01.png"]
    assert inventory(folder) != whole


def test_a_file_that_was_only_touched_is_read_again_and_is_the_same(folder: Path, read: list[str]) -> None:
    first = inventory(folder)
    read.clear()
    (folder / NAMES[0]).touch()
    assert inventory(folder) == first
    assert read == ["00.png"]


def test_what_has_just_changed_is_not_trusted(folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 3600 * 10**9)
    file_digests(folder, NAMES)
    file_digests(folder, NAMES)
    assert len(read) == 6


@pytest.mark.parametrize("notes", [b"garbage", b"1 2 3 zz cat/00.png\0", b"\0\0", b"x" * 560])
def test_notes_that_cannot_be_read_are_made_anew(folder: Path, read: list[str], notes: bytes) -> None:
    first = file_digests(folder, NAMES)
    (file,) = (Path(os.environ["XDG_CACHE_HOME"]) / module.CACHE).iterdir()
    file.write_bytes(notes)
    assert file_digests(folder, NAMES) == first
    assert len(read) == 6


def test_what_was_read_until_ctrl_c_is_noted(folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    digest = module._digest
    monkeypatch.setattr(module, "CHUNK", 1)
    monkeypatch.setattr(module, "THREADS", 1)

    def stops(path: str) -> bytes:
        if path.endswith(NAMES[2]):
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(module, "_digest", stops)
    with pytest.raises(KeyboardInterrupt):
        file_digests(folder, NAMES)
    monkeypatch.setattr(module, "_digest", digest)
    read.clear()
    file_digests(folder, NAMES)
    assert read == ["06.png"]


def test_without_a_folder_for_notes_all_is_read_each_time(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / NAMES[0]))
    assert file_digests(folder, NAMES) == file_digests(folder, NAMES)
    assert len(read) == 6


def test_the_inventory_follows_names_contents_and_links(folder: Path, draw: Draw, tmp_path: Path) -> None:
    seen = [inventory(folder)]
    (folder / "notes.txt").write_text("no picture")
    draw(folder / ".hidden.png")
    (folder / "cat" / "loop").symlink_to(folder)
    assert inventory(folder) == seen[0] == (12, seen[0][1])
    draw(tmp_path / "elsewhere" / "new.png", number=50)
    (folder / "bird").symlink_to(tmp_path / "elsewhere")
    seen.append(inventory(folder))
    draw(tmp_path / "elsewhere" / "new.png", number=51)
    seen.append(inventory(folder))
    (folder / "cat" / "00.png").rename(folder / "dog" / "00.png")
    seen.append(inventory(folder))
    (folder / "dog" / "00.png").unlink()
    seen.append(inventory(folder))
    assert len(set(seen)) == len(seen)
    assert [count for count, _ in seen] == [12, 13, 13, 13, 12]
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        inventory(tmp_path / "nowhere")


def test_files_that_cannot_be_read_are_as_good_as_empty(folder: Path) -> None:
    (folder / "cat" / "gone.png").symlink_to(folder / "nowhere")
    assert inventory(folder)[0] == 13


def test_names_that_are_not_utf_8_are_names(folder: Path, read: list[str]) -> None:
    name = os.fsdecode(b"cat/\xff \n.png")
    (folder / name).write_bytes(b"picture")
    assert file_digests(folder, [name]) == file_digests(folder, [name])
    assert len(read) == 1
    assert inventory(folder)[0] == 13


def read_plainly(root: Path, names: list[str]) -> list[bytes]:
    """What file_digests returns, without notes."""
    contents = [(root / name).read_bytes() if (root / name).is_file() else b"" for name in names]
    return [hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest() for content in contents]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_the_files_their_digests_are_as_if_all_were_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, read: list[str], seed: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "AHEAD", 5)
    draw, names = random.Random(seed), sorted(files_below(folder))
    for _ in range(25):
        path = folder / draw.choice(names)
        path.unlink(missing_ok=True)
        if draw.random() < 0.7:
            path.write_bytes(draw.randbytes(draw.randrange(30)))
            os.utime(path, ns=(0, draw.choice([0, 10**18, -(10**18), 13 * 10**18])))  # 13: beyond what 64 bits hold
        chosen = draw.sample(names, draw.randrange(len(names) + 1))
        read.clear()
        assert file_digests(folder, chosen) == read_plainly(folder, chosen)
        once = len(read)
        assert file_digests(folder, chosen) == read_plainly(folder, chosen)
        future = [name for name in names if (folder / name).exists() and (folder / name).stat().st_mtime > 10**10]
        assert set(read[once:]) <= {Path(name).name for name in future}  # never settled
    present = sorted(files_below(folder))
    plain = b"".join(
        os.fsencode(name) + b"\0" + digest for name, digest in zip(present, read_plainly(folder, present), strict=True)
    )
    assert inventory(folder) == (len(present), hashlib.sha256(plain).hexdigest())
