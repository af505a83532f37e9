"""``dvc.yaml`` is the one place that says what a stage depends on: code, keys of ``params.yaml``, inputs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import nascommon
from nascommon.settings import UserError

CODE = Path(nascommon.__file__).parents[1]
"""The folder that holds the packages and dvc.yaml."""
PACKAGES = ("nascommon/", "stages/")
IMAGE_FOLDERS = ("train", "test")
"""Folders beside the manifest of a prepared set."""
METHOD = "${search.method}"
"""Placeholder that DVC replaces by the selected method, so that the others do not count."""


@dataclass(frozen=True)
class Dependencies:
    """Code, settings and inputs of a stage.

    Attributes:
        code: files and folders, relative to the folder of dvc.yaml.
        keys: dotted keys of params.yaml.
        inputs: files and folders that other stages make, relative to the folder of params.yaml.
    """

    code: tuple[str, ...]
    keys: tuple[str, ...]
    inputs: tuple[Path, ...]


@functools.cache
def stages_of(text: str) -> dict[str, Any]:
    """Return what the text of a dvc.yaml says of each stage; not to be changed."""
    stages: dict[str, Any] = yaml.safe_load(text)["stages"]
    return stages


@functools.cache
def dependencies(stage: str, method: str, root: Path = CODE) -> Dependencies:
    """Return what ``dvc.yaml`` says of a stage.

    Raises:
        UserError: there is no such file beside the packages.
    """
    graph = root / "dvc.yaml"
    try:
        entry = stages_of(graph.read_text(encoding="utf-8"))[stage]
    except FileNotFoundError as error:
        raise UserError(f"{graph}: no such file; stages run from a checkout of the project") from error
    deps = [dep.replace(METHOD, method) for dep in entry.get("deps", ())]
    code = tuple(dep for dep in deps if dep.startswith(PACKAGES))
    keys = tuple(key.replace(METHOD, method) for key in entry.get("params", ()))
    return Dependencies(code, keys, tuple(Path(dep) for dep in deps if dep not in code))


@functools.cache
def code_version(stage: str, method: str, root: Path = CODE) -> str:
    """Return a hash of the code that a stage's numbers come from.

    Args:
        stage: a stage of dvc.yaml.
        method: the selected search method.
        root: the folder that holds the code.
    """
    return _content_of((root / path for path in dependencies(stage, method, root).code), root)


@functools.cache
def code_of_all(root: Path = CODE) -> str:
    """Return a hash of the code of all stages and methods, whichever commit holds it, if any does.

    Args:
        root: the folder that holds the code.
    """
    return _content_of((root / path for path in (*PACKAGES, "dvc.yaml")), root)


def _content_of(paths: Iterator[Path], root: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(_files(paths)):
        # The name counts as well as the content: code that moves from one file to another is other code.
        content.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return content.hexdigest()[:16]


def _files(paths: Iterator[Path]) -> Iterator[Path]:
    for path in paths:
        yield from path.rglob("*.py") if path.is_dir() else (path,)


def input_hashes(stage: str, method: str, folder: Path) -> dict[str, str]:
    """Return the hash of every file that a stage reads from those before it, by name.

    Folders of images are left out: the manifest beside them holds a hash of their content.

    Args:
        stage: a stage of dvc.yaml.
        method: the selected search method.
        folder: the one of params.yaml.

    Raises:
        UserError: an input is missing.
    """
    files = (file for path in dependencies(stage, method).inputs for file in _files_of_input(folder / path))
    return {file.relative_to(folder).as_posix(): _content_hash(file) for file in files}


def input_digests(stage: str, method: str, folder: Path) -> dict[str, str | None]:
    """Return one hash for each file or folder that a stage reads, by its path in dvc.yaml; None where it is missing.

    Takes and leaves out what ``input_hashes`` does.
    """
    return {path.as_posix(): _digest_of(folder / path) for path in dependencies(stage, method).inputs}


def _digest_of(path: Path) -> str | None:
    content = hashlib.sha256()
    try:
        for file in _files_of_input(path):
            content.update(f"{file.relative_to(path)}\0{_content_hash(file)}".encode())
    except UserError:
        return None
    return content.hexdigest()[:16]


def maker(path: str, root: Path = CODE) -> str:
    """Return the stage of dvc.yaml that makes a file, or what is in a folder."""
    stages = stages_of((root / "dvc.yaml").read_text(encoding="utf-8"))
    return next(
        str(stage) for stage, entry in stages.items() for out in entry.get("outs", ())
        if out == path or out.startswith(f"{path}/")
    )  # fmt: skip


def _files_of_input(path: Path) -> Iterator[Path]:
    # Hashing a million pictures at every start would take longer than reading what the manifest says of them.
    if not path.is_dir():
        yield path
    elif not (path.name in IMAGE_FOLDERS and path.with_name("manifest.json").is_file()):
        for inner in sorted(path.iterdir()):
            yield from _files_of_input(inner)


def _content_hash(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to make what comes before it")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
