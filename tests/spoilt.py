"""A JSON tree with one value changed, for every value and many changes: what an editor or a torn disk may do."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    5,
    10**30,
    0.5,
    -0.5,
    1e300,
    "",
    "x",
    "../../x",
    "\ud800",
    [],
    [[]],
    {},
    {"x": 1},
)


def spoilt_trees(tree: Any, skip: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Yield copies of ``tree`` in which one value is another or gone; ``skip`` names keys that are left alone."""
    for path in _paths(tree, skip):
        yield _without(tree, path)
        for value in VALUES:
            yield _with(tree, path, value)


def _paths(tree: Any, skip: frozenset[str]) -> Iterator[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:1]) if isinstance(tree, list) else ()
    for key, value in items:
        if key not in skip:
            yield (key,)
            yield from ((key, *path) for path in _paths(value, skip))


def _with(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(tree)
    holder = _holder(changed, path)
    holder[path[-1]] = value
    return changed


def _without(tree: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(tree)
    del _holder(changed, path)[path[-1]]
    return changed


def _holder(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree
