"""A tree of values becomes settings, and everything wrong with it is said at once, by key and line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nascommon.runtime.yaml_lines import Lines, Position, key_name
from nascommon.settings import MOST_LINES, Settings, UserError, cut, nearest

Complaint = tuple[Position, str]
"""Position of a mistake, and what is wrong there."""
Look = Callable[[dict[str, Any], dict[str, Any]], list[Complaint]]
"""(tree as it is, tree of known keys with defaults) -> what else is wrong with them."""
Record = TypeVar("Record", bound=Settings)


def checked(model: type[Record], tree: dict[str, Any], lines: Lines, path: Path, look: Look) -> Record:
    """Build the settings of a file, or tell all mistakes at once.

    Args:
        model: their type.
        tree: what the file says.
        lines: where each key stands; without any the mistakes are told by key alone.
        path: of the file; handed to ``model`` as its validation context.
        look: what else to complain of in the tree as it is and in the tree of known keys, with defaults.

    Raises:
        UserError: with one line ``FILE:LINE: key: what is wrong`` for each mistake.
    """
    # Twice through pydantic: first to gather all mistakes, then to build the record. It reads JSON, where lists are
    # allowed for tuples and numbers stay strict.
    complete = _with_defaults(model, tree)
    mistakes, known = _mistakes(model, complete)
    details = sorted(mistakes, key=lambda detail: _line(detail["loc"], lines))
    complaints = look(tree, known)
    if not details and not complaints:
        return model.model_validate_json(json.dumps(complete), context=path)
    complaints += [complaint for detail in details[:MOST_LINES] for complaint in _complaints_of(model, detail)]
    located = sorted((_line(position, lines), key_name(position), text) for position, text in complaints)
    told = [f"{path}:{line}: {key}: {text}" if lines else f"{key}: {text}" for line, key, text in located]
    raise UserError(*told, *("counted only" for _ in details[MOST_LINES:]))


def _mistakes(model: type[Settings], tree: dict[str, Any]) -> tuple[list[ErrorDetails], dict[str, Any]]:
    """Return what pydantic finds and what it finds without the unknown keys, and the tree without them.

    A rule over the keys of a section is only looked at where each of them is right, so an unknown key would hide it.
    """
    try:
        model.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        details = [detail | {"loc": _in_the_file(detail["loc"], tree)} for detail in error.errors(include_url=False)]
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        known = _without(tree, {detail["loc"] for detail in unknown})
        if known != tree:
            others, known = _mistakes(model, known)
            return unknown + others, known
        return details, tree
    return [], tree


def _in_the_file(position: Position, tree: Any) -> Position:
    """Leave out of a position the kind that pydantic names where a section is one of several kinds."""
    kept: list[str | int] = []
    for key in position[:-1]:
        try:
            tree = tree[key]
        except (KeyError, TypeError):
            continue
        kept.append(key)
    return (*kept, *position[-1:])


def _without(tree: Any, dropped: set[Position], here: Position = ()) -> Any:
    """Return a copy of a tree without the keys at some positions."""
    match tree:
        case dict():
            kept = {key: value for key, value in tree.items() if (*here, key) not in dropped}
            return {key: _without(value, dropped, (*here, key)) for key, value in kept.items()}
        case list():
            return [_without(value, dropped, (*here, index)) for index, value in enumerate(tree)]
    return tree


def value_at(tree: Any, position: Position) -> Any:
    """Return what stands at a position of a tree, None if nothing does."""
    for key in position:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _with_defaults(model: type[Settings], tree: dict[str, Any]) -> dict[str, Any]:
    """Complete every section that is given in part by the default of its own place.

    So ``weights: {lr: 0.05}`` changes the rate and leaves the method's other values, which may not be the type's.
    """
    complete = dict(tree)
    for name, field in model.model_fields.items():
        value, inner = tree.get(name), _settings_types(field.annotation)
        if isinstance(value, dict) and len(inner) == 1:
            default = field.default.model_dump(mode="json") if isinstance(field.default, Settings) else {}
            complete[name] = _with_defaults(inner[0], _overlaid(default, value))
    return complete


def _overlaid(default: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    merged = dict(default)
    for name, part in value.items():
        both = isinstance(part, dict) and isinstance(default.get(name), dict)
        merged[name] = _overlaid(default[name], part) if both else part
    return merged


def _settings_types(annotation: Any) -> list[type[Settings]]:
    """Return the settings classes among what a field may hold."""
    choices = [annotation, *getattr(annotation, "__args__", ())]
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Settings)]


def _complaints_of(model: type[Settings], detail: ErrorDetails) -> list[Complaint]:
    """Return where complaints belong and what they say."""
    position: Position = detail["loc"]
    if detail["type"] == "extra_forbidden":
        name, known = str(position[-1]), keys_at(model, position[:-1])
        if name in known:
            return [(position, "is a key of another kind; set the kind that has it, or leave it out")]
        return [(position, f"unknown key{nearest(name, known)}")]
    if detail["type"] == "missing":
        return [(position, "is missing")]
    if detail["type"] == "value_error":
        return [_placed(position, line, detail["input"]) for line in str(detail["ctx"]["error"]).splitlines()]
    text = detail["msg"].replace("Input should be", "must be", 1)
    return [(position, f"{text[0].lower()}{text[1:]} (got {_quoted(detail['input'])})")]


def _placed(position: Position, line: str, value: Any) -> Complaint:
    """Place what a validator says, one over several keys says first which one it means, and tell the value got."""
    key, _, rest = line.partition(": ")
    if not (rest and re.fullmatch(r"[\w.]+", key)):
        return position, f"{line} (got {_quoted(value)})"
    for name in key.split("."):
        value = dict(enumerate(value)).get(int(name)) if isinstance(value, list) else value_at(value, (name,))
    told = " (got " in rest or value is None or isinstance(value, dict)  # sections would be long
    return (*position, *key.split(".")), rest if told else f"{rest} (got {_quoted(value)})"


def keys_at(model: type[Settings], position: Position) -> list[str]:
    """Return the keys that the settings at ``position`` know."""
    fields = model.model_fields
    for key in position:
        models = _settings_types(fields[str(key)].annotation) if str(key) in fields else []
        fields = {name: field for model in models for name, field in model.model_fields.items()}
    return list(fields)


def _line(position: Position, lines: Lines) -> int:
    """Return the line of a key, or of the nearest section around it."""
    while position and position not in lines:
        position = position[:-1]
    return lines.get(position, 1)


def _quoted(value: Any) -> str:
    return cut(json.dumps(value, default=str))
