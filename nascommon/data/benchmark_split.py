"""The halves that NAS-Bench-201 divides the training pictures of CIFAR-10 in.

Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020. Where the file
comes from stands in ``nascommon/data/reference/NOTICE.md``.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
import torch
from torch import Tensor

from nascommon.runtime.artefacts import read_packaged

SHA256 = "2d94ac040ba500cbe77fa8c17d531746f6a76365ce8e5e17c10d2938c5dbf0fe"
FILE = resources.files("nascommon.data").joinpath("reference", "nasbench201_cifar10_split.bin")


def read_halves(file: Traversable = FILE) -> tuple[Tensor, Tensor]:
    """Return the indices of the benchmark's training and validation half, int64 [25,000] each, sorted.

    They count in the order of the official batches, which torchvision keeps.

    Raises:
        UserError: the file is missing or is not the one that belongs to this version.
    """
    bits = np.unpackbits(np.frombuffer(read_packaged(file, SHA256), dtype=np.uint8))
    trains_N = torch.from_numpy(bits.astype(bool))
    return trains_N.nonzero().flatten(), (~trains_N).nonzero().flatten()
