"""Choice of the user's folders to train on and to test on; what can be read in two ways is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nascommon.data.names import label
from nascommon.data.pictures import some
from nascommon.data.settings import DataSettings
from nascommon.data.walk import folders_in, has_pictures, holds_pictures, is_folder
from nascommon.runtime.home import at_home
from nascommon.settings import UserError

WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation"),
}
ROLES = {f"{word}{ending}": role for role, words in WORDS.items() for word in words for ending in ("", "set")}
DOWNLOADS = Path("data/downloads")
"""Place in the project for pictures that do not lie in a folder of the user's as they are read."""
TEST_ROLES = ("test", "val")
"""The first that has labels is the test set."""
FEWEST = 2


@dataclass(frozen=True)
class Layout:
    """Two folders of class folders, relative to ``root`` (empty: the root itself); ``test`` is None without one."""

    root: Path
    train: str
    test: str | None


def find_layout(settings: DataSettings, report: Callable[[str], None]) -> Layout:
    """Find the folder of the training classes and that of the test classes.

    Settings name them, or they are recognised by their names in any usual spelling (train, Training, seg_train,
    test_set, valid), if they hold folders of pictures and no pictures of their own: a ``train`` full of pictures is a
    class. A folder that holds nothing but one other folder of class folders stands for that one.

    Raises:
        UserError: there is no such folder, or more than one way to read it.
    """
    root = picture_root(settings)
    named = settings.train_folder is not None or settings.test_folder is not None
    root = root if named else _entered(root)
    roles = {name: role for name in folders_in(root) if (role := role_of(name)) and _is_divided(root / name)}
    train = _train(root, roles, settings)
    test = _test(root, train, roles, settings)
    layout = Layout(root, train, test)
    if settings.train_folder is None:
        _refuse_two_readings(layout)
    if train or root != picture_root(settings):
        report(_said(layout, settings.test_fraction))
    return layout


def picture_root(settings: DataSettings) -> Path:
    """The existing folder that ``data.path`` names.

    Raises:
        UserError: there is none.
    """
    root = at_home(settings.path or "")
    if not is_folder(root):
        raise UserError(f"data.path: {root} is not a folder; name the folder that holds the pictures")
    return root.resolve()


def role_of(name: str) -> str | None:
    """Return train, test or val where a word of just one of them is in ``name``, else None."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    roles = {ROLES[word] for word in words if word in ROLES}
    return roles.pop() if len(roles) == 1 else None


def _train(root: Path, roles: dict[str, str], settings: DataSettings) -> str:
    if settings.train_folder is not None:
        return _named(root, "train_folder", settings.train_folder)
    found = [name for name, role in roles.items() if role == "train"]
    if len(found) > 1:
        raise UserError(f"{root}: more than one folder to train on: {some(found)}; name it in data.train_folder")
    if found:
        return _inside(root, found[0])
    tests = [*roles, *([settings.test_folder] if settings.test_folder else [])]
    if tests:
        raise UserError(f"{root}: has {some(tests)} but no train folder; add it, or name it in data.train_folder")
    return ""


def _test(root: Path, train: str, roles: dict[str, str], settings: DataSettings) -> str | None:
    if settings.test_folder is not None:
        return _named(root, "test_folder", settings.test_folder)
    if not train:
        return None
    classes = _classes(root / train)
    inside = {name: _inside(root, name) for name in roles if roles[name] in TEST_ROLES}
    labelled = [name for name, folder in inside.items() if folder != train and _is_labelled(root / folder, classes)]
    for role in TEST_ROLES:
        found = [name for name in labelled if roles[name] == role]
        if len(found) > 1:
            raise UserError(f"{root}: more than one folder to test on: {some(found)}; name it in data.test_folder")
        if found:
            return inside[found[0]]
    return None


def _named(root: Path, key: str, name: str) -> str:
    if not is_folder(root / name):
        raise UserError(f"data.{key}: {root / name} is not a folder; there are {some(folders_in(root)) or 'none'}")
    return "" if Path(name) == Path() else Path(name).as_posix()


def _classes(folder: Path) -> set[str]:
    return {label(name) for name in folders_in(folder) if has_pictures(folder / name)}


def _is_divided(folder: Path) -> bool:
    """Return whether it holds folders of pictures and no pictures of its own."""
    return not holds_pictures(folder) and any(has_pictures(folder / name) for name in folders_in(folder))


def _is_labelled(folder: Path, classes: set[str]) -> bool:
    """Return whether its folders are meant as classes; one folder of another name, as in ``test/images``, is not."""
    found = _classes(folder)
    return bool(found & classes) or len(found) >= FEWEST


def _entered(folder: Path) -> Path:
    """Go down to the class folders, or split folders, as long as there is but one way."""
    names = folders_in(folder)
    inner = folder / names[0] if len(names) == 1 else folder
    alike = role_of(inner.name) in (None, "train", role_of(folder.name))  # a lone test folder is a mistake
    deeper = inner != folder and alike and not holds_pictures(folder) and _is_divided(inner)
    return _entered(inner) if deeper else folder


def _inside(root: Path, name: str) -> str:
    return _entered(root / name).relative_to(root).as_posix()


def _refuse_two_readings(layout: Layout) -> None:
    folder = layout.root / layout.train
    names = folders_in(folder)
    divided = len(names) >= FEWEST and all(_is_divided(folder / name) for name in names)
    common = set.intersection(*(_classes(folder / name) for name in names)) if divided else set()
    if len(common) >= FEWEST:
        raise UserError(
            f"{folder}: {some(names)} all hold the same folders {some(sorted(common))}, so either may be the classes;"
            " name data.train_folder and data.test_folder, or data.train_folder '.' for the former"
        )
    alike = [name for name in _aside(layout) if role_of(name) is None and has_pictures(layout.root / name)]
    if layout.test is None and alike:
        raise UserError(
            f"{folder}: is either the training set or a class beside {some(alike)};"
            f" name data.train_folder: {layout.train} for the former, '.' for the latter"
        )


def _aside(layout: Layout) -> list[str]:
    if not layout.train:
        return []
    used = [Path(part).parts[0] for part in (layout.train, layout.test) if part]
    return [name for name in folders_in(layout.root) if name not in used]


def _said(layout: Layout, test_fraction: float) -> str:
    root, classes = layout.root, _classes(layout.root / layout.train)
    tests = [name for name in _aside(layout) if role_of(name) in TEST_ROLES]
    flat = [name for name in tests if not _is_labelled(root / _inside(root, name), classes)]
    aside = [f"{name} (not sorted by the classes)" if name in flat else name for name in _aside(layout)]
    tested = f"{test_fraction:.0%} of it" if layout.test is None else layout.test or "."
    return (
        f"{root}: trains on {layout.train or '.'}, tests on {tested}{f'; left aside: {some(aside)}' if aside else ''}"
    )
