"""``params.yaml`` is read whole, and everything wrong with it is said at once, line by line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.data.settings import DataSettings
from nascommon.gaps.settings import DiscretizeSettings, KendallSettings
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.report.settings import EvaluateSettings
from nascommon.runtime.yaml_lines import Lines, Position, key_name, read_yaml
from nascommon.search.settings import SearchSettings
from nascommon.settings import MOST_LINES, Seed, Settings, Threads, UserError, check_pieces, cut, nearest
from nascommon.space.network import TOTAL_STRIDE, check_image_size
from nascommon.space.space import Space
from nascommon.space.stem import Stem
from nascommon.training.settings import BaselineSettings, RetrainSettings, TransferSettings

Complaint = tuple[Position, str]
"""Position of a mistake in the file, and what is wrong there."""
KEYS_DVC_NEEDS = ("seed", "precision", "discretize", "retrain", "kendall_tau", "baseline", "evaluate")
"""Keys that have a default and yet must be in the file: dvc.yaml names them, and DVC stops at one that is not there,
which may be hours later. The section of the selected method is one more."""
MOST_OPERATIONS = 50_000
"""Largest number of operations in a supernet: each is one or several modules, and more take minutes to make."""
MOST_JOBS = 128
"""Each is a process with a torch of its own."""

_METHOD_FIELDS: dict[str, Any] = {
    entry.name: (entry.settings, Field(default_factory=entry.settings)) for entry in REGISTRY.values()
}
MethodsSettings = create_model("MethodsSettings", __base__=Settings, **_METHOD_FIELDS)
"""The section ``methods``: one entry per registered method."""


def _jobs(value: object) -> object:
    if value != "auto" and (type(value) is not int or not 1 <= value <= MOST_JOBS):
        raise ValueError(f"must be auto or a whole number from 1 to {MOST_JOBS}")
    return value


def _too_many_pieces(pieces: int, batch_size: int) -> Iterator[str]:
    try:
        check_pieces(pieces, batch_size)
    except ValueError as error:
        yield f"search.{error}"


class Params(Settings):
    """All of ``params.yaml``."""

    seed: Seed = 0
    device: str = "auto"
    """One of auto, cpu, cuda or cuda:N."""
    threads: Threads | None = None
    """CPU threads of a training; null lets torch take all cores, and trainings that run at a time divide them evenly.
    Small networks gain nothing from more than one."""
    jobs: Annotated[Annotated[int, Field(ge=1, le=MOST_JOBS)] | Literal["auto"], BeforeValidator(_jobs)] = "auto"
    """Retrainings, and searches of multi_run, that run at a time; with a number of ``threads`` changes no result. auto:
    as many as fill the cores, one where threads is null; on a GPU up to 4; in either case as memory allows."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the convolutions; auto: bfloat16 on a GPU that has it, float32 elsewhere."""
    tracking: str = "sqlite:///mlflow.db"
    """Tracking store of MLflow: a URI, or ``none``."""
    data: DataSettings
    search: SearchSettings
    methods: MethodsSettings
    discretize: DiscretizeSettings = DiscretizeSettings()
    retrain: RetrainSettings = RetrainSettings()
    transfer: TransferSettings
    kendall_tau: KendallSettings = KendallSettings()
    baseline: BaselineSettings = BaselineSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    _file: Path = PrivateAttr(Path("params.yaml"))

    def model_post_init(self, context: Any) -> None:
        """Take the path that ``load_params`` hands over as the context."""
        if context is not None:
            self._file = context

    @property
    def file(self) -> Path:
        """Return the path of the file that the settings were read from; messages name it."""
        return self._file

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if misfits := list(self._misfits()):
            raise ValueError("\n".join(misfits))
        return self

    def _misfits(self) -> Iterator[str]:
        """Yield what only shows when one section meets another, a line each."""
        networks = (self.retrain.network, self.kendall_tau.network, self.kendall_tau.deep_network)
        stems = {network.stem for network in networks if network is not None}
        try:
            space = self.search.chosen_space()
        except ValueError as error:
            yield f"search.{error}"
        else:
            yield from self._method_misfits(space, stems)
        sides = {"data.size": (self.data.size, stems)}
        if self.transfer.data is not None:
            sides["transfer.data.size"] = (self.transfer.data.size, {self.transfer.network.stem})
        for key, (side, seen_by) in sides.items():
            try:
                check_image_size(side or 0, side or 0, max(seen_by, key=TOTAL_STRIDE.__getitem__), key)
            except ValueError as error:
                yield str(error)

    def _method_misfits(self, space: Space, stems: set[Stem]) -> Iterator[str]:
        """Yield what does not fit between the method and the space; add the method's stem to ``stems``."""
        name = self.search.method
        try:
            method = self.method()
        except ValueError as error:
            yield f"methods.{name}.{error}"
            return
        stems.add(method.mixed_op.stem)
        yield from _too_many_pieces(self.search.pieces, method.batch_size)
        try:
            operations = max(phase.cells for phase in method.phases) * method.searched(space).largest
        except ValueError as error:
            yield f"methods.{name}.none: without none, space {space.name} {error}; set none: true"
            return
        if operations > MOST_OPERATIONS:
            yield (
                f"search.nodes: cells, edges and candidates make {operations:,} operations, and a supernet may "
                f"have at most {MOST_OPERATIONS:,} (the papers' largest has 1,904); take fewer cells or nodes"
            )

    def changed(self, changes: Mapping[str, Any]) -> Params:
        """Return other params, checked as a file is.

        Args:
            changes: values by dotted key, such as ``{"search.method": "da2s", "seed": 3}``.

        Raises:
            UserError: with one line ``key: what is wrong`` for each mistake.
        """
        tree = self.model_dump(mode="json")
        for key, value in changes.items():
            *sections, name = key.split(".")
            section = tree
            for part in sections:
                if not isinstance(section.setdefault(part, {}), dict):
                    raise UserError(f"{key}: {part} holds one value, and no keys")
                section = section[part]
            section[name] = value
        return _checked(tree, {}, self.file)

    def method_settings(self) -> Settings:
        """Return the settings of the selected method."""
        settings: Settings = getattr(self.methods, self.search.method)
        return settings

    def method(self) -> Method:
        """Return the record of the selected method."""
        search = self.search
        size = SearchSize(search.channels, search.cells, search.chosen_space())
        return REGISTRY[search.method].recipe(self.method_settings(), size)


Look = Callable[[dict[str, Any]], list[Complaint]]
"""Tree of known keys -> what else is wrong with them."""


def _nothing(_tree: dict[str, Any]) -> list[Complaint]:
    return []


def load_params(path: Path, look: Look = _nothing) -> Params:
    """Read and check a params file.

    Args:
        path: file to read, such as params.yaml.
        look: what else to complain of in the tree of known keys; told together with the rest.

    Raises:
        UserError: with one line ``FILE:LINE: key: what is wrong`` for each mistake.
    """
    return _checked(*read_yaml(path), path, look)


def _checked(tree: dict[str, Any], lines: Lines, path: Path, look: Look = _nothing) -> Params:
    """Build the record, or tell all mistakes at once, with their lines where there are lines."""
    # Twice through pydantic: first to gather all mistakes, then to build the record. It reads JSON, where lists are
    # allowed for tuples and numbers stay strict.
    complete = _with_defaults(Params, tree)
    mistakes, known = _mistakes(complete)
    details = sorted(mistakes, key=lambda detail: _line(detail["loc"], lines))
    complaints = [*_unwritten(tree), *look(known)]
    if not details and not complaints:
        return Params.model_validate_json(json.dumps(complete), context=path)
    complaints += [complaint for detail in details[:MOST_LINES] for complaint in _complaints_of(detail)]
    located = sorted((_line(position, lines), key_name(position), text) for position, text in complaints)
    told = [f"{path}:{line}: {key}: {text}" if lines else f"{key}: {text}" for line, key, text in located]
    raise UserError(*told, *("counted only" for _ in details[MOST_LINES:]))


def _mistakes(tree: dict[str, Any]) -> tuple[list[ErrorDetails], dict[str, Any]]:
    """Return what pydantic finds and what it finds without the unknown keys, and the tree without them.

    A rule over the keys of a section is only looked at where each of them is right, so an unknown key would hide it.
    """
    try:
        Params.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        details = [detail | {"loc": _in_the_file(detail["loc"], tree)} for detail in error.errors(include_url=False)]
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        known = _without(tree, {detail["loc"] for detail in unknown})
        if known != tree:
            others, known = _mistakes(known)
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


def _unwritten(tree: dict[str, Any]) -> Iterator[Complaint]:
    """Complain of keys that are left out although DVC watches them."""
    method = value_at(tree, ("search", "method"))
    selected = [f"methods.{method}"] if isinstance(method, str) and method in REGISTRY else []
    for key in (*KEYS_DVC_NEEDS, *selected):
        *section, name = position = tuple(key.split("."))
        given = value_at(tree, tuple(section))
        if not isinstance(given, dict) or name in given:
            continue
        misspelt = difflib.get_close_matches(name, given.keys() - set(_keys_at(tuple(section))))
        if not misspelt:  # or it is told as an unknown key
            yield position, f"is missing, and DVC stops without it; write {name}: {_default(position)} for the default"


def _default(position: Position) -> str:
    least = {"data": {"source": "digits"}, "search": {"method": "darts"}, "methods": {}, "transfer": {"data": None}}
    default = value_at(Params.model_validate(least).model_dump(mode="json"), position)
    return "{}" if isinstance(default, dict) else str(default)


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


def _complaints_of(detail: ErrorDetails) -> list[Complaint]:
    """Return where complaints belong and what they say."""
    position: Position = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return [(position, f"unknown key{nearest(str(position[-1]), _keys_at(position[:-1]))}")]
    if detail["type"] == "missing":
        return [(position, "is missing")]
    if detail["type"] == "value_error":
        return [_placed(position, line, detail["input"]) for line in str(detail["ctx"]["error"]).splitlines()]
    text = detail["msg"].replace("Input should be", "must be", 1)
    return [(position, f"{text[0].lower()}{text[1:]} (got {_quoted(detail['input'])})")]


def _placed(position: Position, line: str, value: Any) -> Complaint:
    """Place what a validator says; one over several keys says first which one it means."""
    key, _, rest = line.partition(": ")
    if rest and re.fullmatch(r"[\w.]+", key):
        return (*position, *key.split(".")), rest
    return position, f"{line} (got {_quoted(value)})"


def _keys_at(position: Position) -> list[str]:
    """Return the keys that the settings at ``position`` know."""
    fields = Params.model_fields
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
