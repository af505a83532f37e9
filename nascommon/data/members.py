"""A picture inside of a tar file has a path, too: ``shard.tar/OFFSET+BYTES/name.jpg``, as if the tar were a folder.

So whatever takes a path reads it, at once and without a look at the rest of the tar: the place is in the name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

SUFFIX = ".tar"
_PLACE = re.compile(r"(.*\.tar)/(\d+)\+(\d+)/[^/]*", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """A stretch of bytes of a file.

    Attributes:
        file: its path.
        offset: first byte.
        size: in bytes.
    """

    file: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Read it.

        Raises:
            OSError: the file cannot be read, or ends before.
        """
        with open(self.file, "rb") as file:  # noqa: PTH123 -- a Path for each of a million names is slow
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"the tar ends within it, after {len(content)} of {self.size} bytes")
        return content


def place(shard: str, offset: int, size: int, name: str) -> str:
    """Return the path of a member: shard, place, and the last part of its name there."""
    return f"{shard}/{offset}+{size}/{name.rpartition('/')[2]}"


def member_of(path: str) -> Member | None:
    """Return the member that a path names, None for a file of its own."""
    if f"{SUFFIX}/" not in path:
        return None
    found = _PLACE.fullmatch(path)
    if found is None or not os.path.isfile(found[1]):  # noqa: PTH113 -- as above; a folder may be called x.tar
        return None
    return Member(found[1], int(found[2]), int(found[3]))
