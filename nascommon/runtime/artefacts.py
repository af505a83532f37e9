"""Files appear whole or not at all, and a file that cannot be read says so by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nascommon.runtime.atomic import atomic
from nascommon.settings import UserError

_ESCAPED = "backslashreplace"


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` atomically as UTF-8; a byte of a file's name that is none becomes ``\udce9``, as in JSON."""
    write_bytes(path, text.encode("utf-8", _ESCAPED))


def write_json(path: Path, tree: Any) -> None:
    """Write ``tree`` atomically as indented JSON; NaN and infinities are refused because JSON has none."""
    # A piece at a time: all together the numbers of a million pictures would take ten times what they say.
    pieces = json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False).iterencode(tree)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", errors=_ESCAPED, newline="") as file:
        file.writelines(chain(pieces, "\n"))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); make it again or delete it") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors atomically as safetensors."""
    with atomic(path) as temporary:
        # safetensors refuses what is not contiguous, as convolutions in channels-last layout are not.
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file, onto the CPU.

    Raises:
        UserError: the file is missing, torn or not safetensors.
    """
    # safetensors holds shapes and numbers only: nothing in the file is executed, unlike a pickle.
    try:
        return load_file(_existing(path))
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); make it again or delete it") from error


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically; the suffix (.parquet or .csv) decides the format."""
    with atomic(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_packaged(file: Traversable, sha256: str) -> bytes:
    """Return the content of a file of this package, which must have the SHA-256 ``sha256`` (hex).

    Raises:
        UserError: it cannot be read or has other content, such as the first part of it alone.
    """
    again = "install the package again, or run `git checkout` on it"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); {again}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{file}: torn or changed: its SHA-256 must be {sha256[:12]}... (got {found[:12]}..., {len(content):,} "
            f"bytes); {again}"
        )
    return content


def digest(*parts: object) -> str:
    """Return a short stable hash of JSON-able values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to make what comes before it")
    return path
