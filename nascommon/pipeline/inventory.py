"""Inventory of pictures, a given genotype and a bank, by content: DVC sees no file outside of the project by itself.

This runs at every ``dvc repro``, so it imports nothing that is slow to import. Complaints are left to ``prepare``, but
for one: of a method that is not there DVC would say, in words of its own, that a file is missing.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from nascommon.data.inventory import inventory
from nascommon.data.walk import is_picture, is_shard, is_table
from nascommon.runtime.atomic import atomic
from nascommon.runtime.home import at_home
from nascommon.runtime.yaml_lines import read_yaml
from nascommon.settings import UserError

INVENTORY, GIVEN, BANK = Path("data/inventory.json"), Path("data/given.json"), Path("data/bank.json")
SECTIONS = {"data": ("data",), "transfer.data": ("transfer", "data")}
METHODS = Path(__file__).parents[1] / "methods"
COUNTS = {"image_folder": is_picture, "imagenet": is_picture, "webdataset": is_shard, "huggingface": is_table}
"""Files that count, by source, where pictures may change; others come with a library or are guarded by checksums."""


def write_inventory(params: Path) -> None:
    """Write data/inventory.json, data/given.json and data/bank.json for a params file."""
    for file, text in ((INVENTORY, present(params)), (GIVEN, given(params)), (BANK, banked(params))):
        with atomic(file) as part:
            part.write_text(text, encoding="utf-8")


def present(params: Path) -> str:
    """Return what the inventory says now; a section that has no folder, or not yet a valid one, has nothing."""
    tree = _read(params)
    count = cache(inventory)  # both sections may name one folder
    return json.dumps({key: _counted(tree, keys, count) for key, keys in SECTIONS.items()}, indent=2) + "\n"


def refuse_unknown_method(params: Path) -> None:
    """Say as every stage would what is wrong with ``search.method``.

    Raises:
        UserError: there is no such method.
    """
    tree = _read(params)
    search = tree.get("search") if isinstance(tree, dict) else None
    name = search.get("method") if isinstance(search, dict) else None
    if isinstance(name, str) and not (METHODS / f"{name}.py").is_file():
        from nascommon.config import load_params  # slow to import

        load_params(params)


def given(params: Path) -> str:
    """Return the hash of the file that ``discretize.genotype`` names, as JSON; null where it names none."""
    return _file_hash(params, "discretize", "genotype")


def banked(params: Path) -> str:
    """Return the hash of the file that ``baseline.bank`` names, as JSON; null where it names none.

    A bank grows from run to run, so it is no output of a stage: DVC would remove it before the stage runs, or, kept by
    ``persist``, put an old one in its place from the cache. It is an input that lies where the user wants it.
    """
    return _file_hash(params, "baseline", "bank")


def _file_hash(params: Path, section: str, key: str) -> str:
    tree = _read(params)
    settings = tree.get(section) if isinstance(tree, dict) else None
    name = settings.get(key) if isinstance(settings, dict) else None
    try:
        digest = hashlib.sha256(at_home(str(name)).read_bytes()).hexdigest()
    except (OSError, ValueError):  # a published name, none, or no file: not for this stage to judge
        digest = None
    return json.dumps({f"{section}.{key}": digest}) + "\n"


def _read(params: Path) -> Any:
    try:
        return read_yaml(params)[0]
    except UserError:
        return None


def _counted(tree: Any, keys: tuple[str, ...], count: Any) -> dict[str, Any] | None:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or tree.get("source") not in COUNTS or not isinstance(tree.get("path"), str):
        return None
    try:
        files, digest = count(at_home(tree["path"]), COUNTS[tree["source"]])
    except ValueError:  # no such folder, no path at all, or that of a user who is not there
        return None
    return {"files": files, "sha256": digest}
