"""CIFAR comes from checked files only, wherever they lie; real pictures where they are at hand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.datasets import CIFAR10

from nascommon.data import cifar, sources
from nascommon.data.prepared import Prepared
from nascommon.data.settings import DataSettings
from nascommon.settings import UserError

Make = Callable[..., Prepared]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


def test_a_folder_without_the_files_names_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks CIFAR10 files .*: data_batch_1; .*and 2 more; unpack cifar-10-python"):
        sources.read_source(DataSettings(source="cifar10", path=str(tmp_path)), print)


def test_a_damaged_file_is_never_unpickled(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "train").write_bytes(b"cos\nsystem\n(S'touch broken'\ntR.")
    with pytest.raises(UserError, match=r"cifar-100-python lacks CIFAR100 files or holds damaged ones \(md5\): train;"):
        sources.read_source(DataSettings(source="cifar100", path=str(tmp_path)), print)
    assert not Path("broken").exists()


def test_a_download_that_fails_says_what_else_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: CIFAR10) -> None:
        raise URLError("no network")

    monkeypatch.setattr(CIFAR10, "download", offline)
    monkeypatch.setattr(cifar, "DOWNLOADS", tmp_path)
    with pytest.raises(UserError, match=r"could not be downloaded into .*no network.*name a folder in data\.path"):
        sources.read_source(DataSettings(source="cifar10"), print)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(UserError, match=r"data\.classes: unknown ten; there are 0, 1, 2"):
        sources.read_source(DataSettings(source="digits", classes=("1", "ten")), print)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared CIFAR-10 pictures are not here")
def test_real_cifar10_loads_from_the_folder_and_from_its_parent(tmp_path: Path, make: Make) -> None:
    restore = _restore()
    restore.main(tmp_path)
    within, itself = (make(source="cifar10", path=str(path)) for path in (tmp_path, tmp_path / "cifar-10-batches-py"))
    manifest = within.manifest
    assert manifest == itself.manifest
    assert manifest.classes[:2] == ("airplane", "automobile")
    assert manifest.mean == (0.49139968, 0.48215827, 0.44653124)
    assert {part: set(counts.values()) for part, counts in manifest.counts.items()} == {
        "weights": {2500}, "architecture": {2500}, "test": {1000},
    }  # fmt: skip
    images, labels = restore.load_batch("test_batch")
    test = within.part("test")
    assert torch.equal(test.samples.images, torch.from_numpy(images).permute(0, 3, 1, 2))  # type: ignore[attr-defined]  # in memory
    assert test.labels.tolist() == labels.tolist()


def _restore() -> Any:
    spec = importlib.util.spec_from_file_location("restore_cifar10", SHARED / "restore_cifar10.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = kept
    return module
