"""CIFAR-10 and CIFAR-100 by torchvision, whose checksums guard the only pickles that are ever read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from nascommon.data.layout import DOWNLOADS, picture_root
from nascommon.data.pictures import some
from nascommon.data.samples import Pixels
from nascommon.data.settings import DataSettings
from nascommon.runtime.home import home
from nascommon.settings import UserError

CIFAR = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read_cifar(settings: DataSettings) -> tuple[tuple[str, ...], Pixels, Pixels]:
    """Return class names, training and test pictures of CIFAR-10 or CIFAR-100.

    Raises:
        UserError: the download failed, or the folder lacks a file or holds a damaged one.
    """
    kind = CIFAR[settings.source]
    if settings.path is None:
        train, test = _downloaded(kind)
    else:
        train, test = _existing(kind, picture_root(settings))
    return tuple(train.classes), _pixels(train), _pixels(test)


def _downloaded(kind: type[CIFAR10]) -> tuple[CIFAR10, CIFAR10]:
    try:
        return kind(home() / DOWNLOADS, train=True, download=True), kind(home() / DOWNLOADS, train=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{kind.url}: could not be downloaded into {DOWNLOADS} ({error}); try again, or name a folder in data.path"
        ) from error


def _existing(kind: type[CIFAR10], folder: Path) -> tuple[CIFAR10, CIFAR10]:
    # The folder may hold torchvision's sub-folder or be it, whatever its name.
    inside = folder / kind.base_folder
    files_at = inside if inside.is_dir() else folder
    flat = type(kind.__name__, (kind,), {"base_folder": ""})
    wrong = [name for name, md5 in _checked_files(kind) if not check_integrity(files_at / name, md5)]
    if wrong:
        raise UserError(
            f"data.path: {files_at} lacks {kind.__name__} files or holds damaged ones (md5): {some(wrong)};"
            f" unpack {kind.filename} again, or leave data.path empty to download it"
        )
    return flat(files_at, train=True), flat(files_at, train=False)


def _checked_files(kind: type[CIFAR10]) -> list[tuple[str, str]]:
    listed = [(name, md5) for name, md5 in [*kind.train_list, *kind.test_list]]
    return [*listed, (kind.meta["filename"], kind.meta["md5"])]


def _pixels(dataset: CIFAR10) -> Pixels:
    images: Tensor = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return Pixels(images, torch.tensor(dataset.targets, dtype=torch.int64))
