"""Pictures too many for memory are decoded by loader processes, each picture with random numbers of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from nascommon.data.fitting import Fit, evaluation_view, squared
from nascommon.data.jitter import ADJUSTMENTS, jitter
from nascommon.data.pictures import open_picture
from nascommon.data.samples import Paths, pixels_of
from nascommon.data.settings import Augment
from nascommon.runtime.hardware import cores
from nascommon.runtime.seeding import derive
from nascommon.settings import UserError

View = Callable[[Image.Image], tuple[Tensor, Tensor]]
"""Function from a picture to uint8 pixels [C, H, W] and the steps [S, 2] of colour jitter left to the device."""

_Sample = tuple[Tensor, Tensor, int]

NO_STEPS = torch.empty(0, 2)

ENDINGS = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a program to end."""


def training_pictures(size: int, augment: Augment, fit: Fit) -> View:
    """ImageNet's training view: random resized crop, mirror, colour jitter, all drawn as torchvision draws them.

    With ``fit`` pad or stretch the crop is one of the padded or stretched picture.
    """
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(size, scale=augment.resized_crop_scale)
    colors = v2.ColorJitter(*augment.color_jitter)
    # No closure: where loader processes do not fork, the view is pickled.
    return partial(_training_view, crop=crop, flip=augment.flip, colors=colors, fit=fit)


def evaluation_pictures(size: int, fit: Fit) -> View:
    """The evaluation view, see ``nascommon.data.fitting.evaluation_view``."""
    return partial(_evaluation_view, size=size, fit=fit)


def stream(
    paths: Paths,
    channels: int,
    view: View,
    chunks: Sequence[Tensor],
    seed: int,
    device: torch.device,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for every chunk of indices, pictures [B, C, H, W] and int64 labels [B] on ``device``.

    Pixels are 0 to 255: uint8, which is what travels, or float32 where the device has jittered the colours. The
    random numbers of a picture depend on ``seed`` and its index alone, so ``workers`` changes no result.

    Raises:
        UserError: a file cannot be decoded; the message names it.
    """
    loader = DataLoader(
        _Pictures(paths, channels, view, seed),
        batch_sampler=[chunk.tolist() for chunk in chunks],
        collate_fn=_collate,
        num_workers=min(workers, cores(), len(chunks)),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own: the loader would draw from the global one
    )
    with interrupts_wait():
        batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            images, steps, labels = batch
            yield jitter(images.to(device, non_blocking=True), steps), labels.to(device, non_blocking=True)
    finally:
        with interrupts_wait():
            del batches  # ends the loader processes


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is done.

    A loader half made or half ended complains when it is freed; and what a handler raises while Python forks is lost.
    Processes begun here never see the two signals: sent to all processes of a job they are the trainer's to obey, and
    PyTorch takes a loader process that obeys first for a fault. They end with the loader, or with the trainer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in ENDINGS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _training_view(image: Image.Image, crop: Any, flip: bool, colors: Any, fit: Fit) -> tuple[Tensor, Tensor]:
    """Crop before torch sees the picture, resize with torch: its kernel for bytes takes a third of Pillow's time."""
    from torchvision.transforms.v2 import functional as vision

    image = squared(image, fit)
    window = crop.make_params([image])
    left, top = window["left"], window["top"]
    part = pixels_of(image.crop((left, top, left + window["width"], top + window["height"])))
    seen = vision.resize(part, crop.size, antialias=True)
    mirrored = flip and float(torch.rand(1)) < 0.5  # noqa: PLR2004 - every second one
    return seen.flip(2) if mirrored else seen, _steps(colors)


def _evaluation_view(image: Image.Image, size: int, fit: Fit) -> tuple[Tensor, Tensor]:
    return pixels_of(evaluation_view(image, size, fit)), NO_STEPS


def _steps(colors: Any) -> Tensor:
    """Draw a picture's colour jitter: (adjustment, factor) in the order in which they are made."""
    drawn = colors.make_params([])
    factors = [drawn[f"{name}_factor"] for name in ADJUSTMENTS]
    steps = [(kind, factors[kind]) for kind in drawn["fn_idx"].tolist() if factors[kind] is not None]
    return torch.tensor(steps, dtype=torch.float32).reshape(-1, 2)


def _collate(samples: list[_Sample | UserError]) -> tuple[Tensor, Tensor, Tensor] | UserError:
    """Stack the samples, or hand over the first that failed."""
    good = [sample for sample in samples if not isinstance(sample, UserError)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, UserError))
    images, steps, labels = default_collate(good)  # in a loader process it stacks straight into shared memory
    return images, steps, labels


@dataclass(frozen=True, eq=False)
class _Pictures(Dataset[_Sample | UserError]):
    """Names are one block of bytes: Python strings would be copied into every loader process as they are touched."""

    paths: Paths
    channels: int
    view: View
    seed: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Sample | UserError:
        try:
            image = open_picture(self.paths.root / self.paths.names[index], self.channels)
        except UserError as error:
            # Returned, not raised: torch wraps what a loader process raises in its traceback and takes 10 s to stop.
            return UserError(str(error))
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would seed a GPU too, which fork_rng does not put back here.
            torch.default_generator.manual_seed(derive(self.seed, index))
            pixels, steps = self.view(image)
        return pixels, steps, int(self.paths.labels[index])
