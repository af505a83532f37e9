"""Every random number is a pure function of the seed and of what it is for.

Nothing depends on how many numbers were drawn before, so a resumed run needs no generator state.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a number in [0, 2**63) that belongs to ``seed`` and ``names`` alone."""
    # The type is part of the text, or 1 and "1" would be one purpose; the separator is in no name, or ("ab", "c")
    # and ("a", "bc") would. Python's own hash() differs from process to process.
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return number >> 1  # torch takes signed 64 bits


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator on ``device`` for ``seed`` and ``names``."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


def seed_globals(seed: int, *names: str | int) -> None:
    """Seed the global generators of torch (CPU and CUDA), NumPy and Python, which drop-path draws from."""
    number = derive(seed, *names)
    torch.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 -- libraries that still draw from the global generator
    random.seed(number)
