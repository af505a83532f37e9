"""Peak memory of a computation, found by running it on tensors that have no data.

Tensors on PyTorch's ``meta`` device have shapes and storages but no bytes and no arithmetic. So a step of any size can
be run in seconds, and every storage be followed from the operation that makes it to its death.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascommon.kernels.home import laid_out
from nascommon.runtime.allocator import LARGEST_IN_HEAP

META = torch.device("meta")
Size = Callable[[int], int]
"""Bytes of a tensor -> bytes that it costs."""

HEAP_FRAGMENTATION = 0.3
"""Bytes lost in holes of the heap at the peak, as a share of the bytes of the tensors in it. Tensors that live for a
whole step stand between others that come and go. Set on four runs (0.28 to 0.40, kernels' workspaces included); on
later code nine runs of supernets and networks leave 0.20 to 0.51 unexplained without it, mostly 0.27 to 0.31. With
MALLOC_MMAP_THRESHOLD_ at 64 KiB, which maps nearly every tensor by itself, the holes all but vanish."""
BLOCK = 512
"""Bytes that every allocation on a GPU is rounded up to (kMinBlockSize of PyTorch's CUDACachingAllocator)."""


def tensor_bytes(size: int) -> int:
    """Return the bytes of the tensor themselves."""
    return size


def heap_bytes(size: int) -> int:
    """Return the bytes that a tensor costs in the resident memory of a process: with its share of the heap's holes."""
    return size if size > LARGEST_IN_HEAP else round(size * (1 + HEAP_FRAGMENTATION))


def block_bytes(size: int) -> int:
    """Return the bytes that a tensor takes of a GPU, whose allocator of PyTorch hands out whole blocks."""
    return -(-size // BLOCK) * BLOCK


def peak_bytes(program: Callable[[], object], size: Size = tensor_bytes) -> int:
    """Return the most bytes that tensors made by ``program`` take at any moment.

    A number that the program reads from a tensor without data is 1.

    Args:
        program: makes all its tensors itself, preferably on ``META``, where it costs no memory and hardly any time.
        size: bytes of a tensor -> bytes that it costs.
    """
    with LiveBytes(size) as live:
        program()
        peak: int = live.peak
    return peak


def resident_bytes() -> int:
    """Return the resident memory of this process at present, in bytes."""
    return int(psutil.Process().memory_info().rss)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every storage that an operation inside of the ``with`` returns, once, from then on until it dies.

    Attributes:
        now: bytes that live.
        peak: the largest ``now`` so far.
    """

    def __init__(self, size: Size = tensor_bytes) -> None:
        """Start with nothing alive."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._size = size
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what it returns."""
        # Tensor.item() on meta would raise, as there is no number to return; any number lets the program go on.
        if operation is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:  # noqa: SLF001 -- no public name
            return 1
        result = laid_out(operation, operation(*args, **(kwargs or {})))
        # Views and in-place operations return tensors of a storage that is counted already.
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        # PyTorch keeps the Python object of a storage for as long as the storage lives: it is known by its identity
        # (the address of its data is 0 on meta), and the end of the object is the end of the storage.
        key = id(storage)
        if key in self._alive:
            return
        size = self._size(storage.nbytes())
        self._alive.add(key)
        # At interpreter exit nobody needs the count, and what it refers to may be gone.
        weakref.finalize(storage, self._forget, key, size).atexit = False
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> None:
        self._alive.remove(key)
        self.now -= size


CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Return the free memory of the device, on a CPU within the limit of the container, which psutil does not know."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    available = int(psutil.virtual_memory().available)
    # What the system has free knows nothing of the container's limit.
    with suppress(OSError, ValueError):  # no such files, or "max" where there is no limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        return min(available, limit - used)
    return available
