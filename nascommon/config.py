"""``params.yaml`` is read whole, and everything wrong with it is said at once, line by line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, create_model, model_validator

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.data.settings import DataSettings
from nascommon.gaps.settings import FEWEST_TO_RANK, DiscretizeSettings, KendallSettings
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.report.settings import EvaluateSettings
from nascommon.runtime.executor import LOCAL_RAY, PROCESSES
from nascommon.runtime.ranks import Share
from nascommon.runtime.reading import Complaint, checked, keys_at, value_at
from nascommon.runtime.yaml_lines import Position, read_yaml
from nascommon.search.settings import SearchSettings
from nascommon.settings import Seed, Settings, Threads, UserError, check_pieces
from nascommon.space.network import TOTAL_STRIDE, check_image_size
from nascommon.space.space import Space
from nascommon.training.settings import BaselineSettings, RetrainSettings, TransferSettings

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


def _executor(value: str) -> str:
    if value not in (PROCESSES, LOCAL_RAY) and not re.fullmatch(r"[^\s:/]+:\d{1,5}", value):
        raise ValueError(f"must be {PROCESSES}, {LOCAL_RAY} or the address of a cluster of Ray, as head:6379")
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
    as many as fill the cores and memory allows, one where threads is null; on a GPU one."""
    executor: Annotated[str, AfterValidator(_executor)] = PROCESSES
    """Where these are done: ``processes`` of this machine, ``ray`` on this machine, or a cluster of Ray by its address,
    as head:6379. With a number of ``threads`` it changes no result."""
    launch: Annotated[int, Field(ge=1, le=MOST_JOBS)] = 1
    """Processes that share every batch of search, retrain and transfer, on this machine: one for each of its GPUs.
    Batch norm sees a process's share, as with so many ``pieces``. ``torchrun`` starts them on several machines."""
    sync_batch_norm: bool = False
    """Whether batch norm sees the batch of all processes, where ``launch`` or ``torchrun`` share it, as if one computed
    it in the same ``pieces``, at two messages for each."""
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
        yield from self._nothing_to_compare()
        yield from self._too_few_snapshots()
        yield from self._too_many_processes()
        if self.executor != PROCESSES and re.fullmatch(r"cuda:[1-9]\d*", self.device):
            yield f"device: Ray gives each piece of work a GPU of its own; set device: cuda (got {self.device})"
        try:
            space = self.search.chosen_space()
        except ValueError as error:
            yield f"search.{error}"
        else:
            yield from self._method_misfits(space)
            yield from self._network_misfits(space)
        sides = {"data": self.data.size, "transfer.data": self.transfer.data and self.transfer.data.size}
        for section, side in sides.items():
            try:
                self.check_image_size(section, side or 0, side or 0)
            except ValueError as error:
                yield str(error)

    def check_image_size(self, section: str, height: int, width: int) -> None:
        """Refuse pictures of a section that one of the networks that see them cannot halve as often as it does.

        Args:
            section: ``data``, which search, retraining and ranking see, or ``transfer.data``.
            height: of the pictures, in pixels.
            width: of the pictures, in pixels.

        Raises:
            UserError: naming the key, height x width got and what is allowed.
        """
        networks = (self.retrain.network, self.kendall_tau.network, self.kendall_tau.deep_network)
        stems = {network.stem for network in networks if network is not None}
        with suppress(ValueError):  # of a method that cannot be is told elsewhere
            stems.add(self.method().mixed_op.stem)
        if section == "transfer.data":
            stems = {self.transfer.network.stem}
        check_image_size(height, width, max(stems, key=TOTAL_STRIDE.__getitem__), f"{section}.size")

    def _too_many_processes(self) -> Iterator[str]:
        """Yield the batches that are too small to be shared by ``launch`` processes."""
        name, fewest = self.search.method, Share(dealt=self.sync_batch_norm).fewest
        try:
            batches = {f"methods.{name}": self.method().batch_size}
        except ValueError:  # told elsewhere
            batches = {}
        if not self.retrain.skip:
            batches["retrain.training"] = self.retrain.training.batch_size
        if self.transfer.data is not None:
            batches["transfer.training"] = self.transfer.training.batch_size
        for section, batch_size in batches.items():
            if 1 < self.launch > batch_size // fewest:
                yield (
                    f"launch: must leave each process at least {fewest} of the images of {section}.batch_size "
                    f"{batch_size}, so be at most {batch_size // fewest} (got {self.launch})"
                )

    def _nothing_to_compare(self) -> Iterator[str]:
        """Yield what asks for a comparison with a network that is not trained."""
        if not self.retrain.skip:
            return
        what = "needs the retrained network, which retrain.skip leaves out"
        if self.baseline.architectures:
            yield f"baseline.architectures: {what}; set it to 0 (got {self.baseline.architectures})"
        if self.evaluate.published_protocol:
            yield f"evaluate.published_protocol: {what}; set it to false (got true)"

    def _too_few_snapshots(self) -> Iterator[str]:
        """Yield that too few snapshots are kept where it is sure that ``kendall_tau`` ranks by them."""
        if self.kendall_tau.truth == "retrain" or not self.kendall_tau.knowable:
            yield from self.snapshot_misfits()

    def snapshot_misfits(self) -> Iterator[str]:
        """Yield that ``kendall_tau``, if it trains architectures, asks for snapshots that the search does not keep."""
        ranked, kept = self.kendall_tau, self.search.snapshots
        with suppress(ValueError):  # of a method that cannot be is told elsewhere
            epochs = self.method().epochs
            kept = min(kept, epochs) if epochs else FEWEST_TO_RANK  # without a supernet nothing is ranked
        if ranked.mode == "multi_run":
            return
        if ranked.source == "epochs" and kept < FEWEST_TO_RANK:
            yield (
                f"kendall_tau.source: epochs ranks the cells of at least {FEWEST_TO_RANK} snapshots, and this search "
                f"keeps {kept}; set search.snapshots and epochs of the method so, or source: sampled (got epochs)"
            )
        elif ranked.mode == "trajectory" and kept == 0:
            yield "search.snapshots: must be at least 1 where kendall_tau.mode is trajectory (got 0)"

    def _network_misfits(self, space: Space) -> Iterator[str]:
        """Yield what the networks of the space cannot be."""
        ranked, skeleton = self.kendall_tau, space.skeleton
        networks = {
            "retrain.network": self.retrain.network,
            "kendall_tau.network": ranked.network,
            "kendall_tau.deep_network": ranked.deep_network,
        }
        for section, network in networks.items():
            if network is not None:
                misfits = skeleton.misfits(network.cells, network.stem, auxiliary=network.auxiliary)
                yield from (f"{section}.{misfit}" for misfit in misfits)
        if self.transfer.data is not None and self.transfer.network.stem not in skeleton.stems:
            yield f"transfer.data: networks of {skeleton.name} are not made for large images; set data: null"

    def _method_misfits(self, space: Space) -> Iterator[str]:
        """Yield what does not fit between the method and the space."""
        name = self.search.method
        try:
            method = self.method()
        except ValueError as error:
            yield self._of_method(str(error))
            return
        skeleton = space.skeleton
        for cells in sorted({phase.cells for phase in method.phases}):
            first = next(index for index, phase in enumerate(method.phases) if phase.cells == cells)
            for misfit in skeleton.misfits(cells, skeleton.stems[0]):
                yield f"search.{misfit}" if cells == self.search.cells else self._of_method(misfit, first)
        yield from map(self._of_method, skeleton.misfits(skeleton.step, method.mixed_op.stem))
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

    def _of_method(self, complaint: str, phase: int = 0) -> str:
        """Return a complaint that begins with a setting of the method, with the whole key of where that stands."""
        settings, key = self.method_settings(), complaint.partition(":")[0].partition(".")[0]
        where = f"methods.{self.search.method}"
        for name, value in settings:
            parts = value if isinstance(value, tuple) else (value,)
            part = parts[phase] if phase < len(parts) else None
            if key not in type(settings).model_fields and isinstance(part, Settings) and key in type(part).model_fields:
                where += f".{name}" + (f".{phase}" if parts is value else "")
        return f"{where}.{complaint}"

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
        return checked(Params, tree, {}, self.file, lambda _given, _known: [])

    def method_settings(self) -> Settings:
        """Return the settings of the selected method."""
        settings: Settings = getattr(self.methods, self.search.method)
        return settings

    def method(self) -> Method:
        """Return the record of the selected method."""
        search = self.search
        size = SearchSize(search.channels, search.cells, search.chosen_space())
        return REGISTRY[search.method].recipe(self.method_settings(), size)


def load_params(path: Path, look: Callable[[dict[str, Any]], list[Complaint]] = lambda _tree: []) -> Params:
    """Read and check a params file.

    Args:
        path: file to read, such as params.yaml.
        look: what else to complain of in the tree of known keys; told together with the rest.

    Raises:
        UserError: with one line ``FILE:LINE: key: what is wrong`` for each mistake.
    """
    tree, lines = read_yaml(path)
    return checked(Params, tree, lines, path, lambda given, known: [*_unwritten(given), *look(known)])


def _unwritten(tree: dict[str, Any]) -> Iterator[Complaint]:
    """Complain of keys that are left out although DVC watches them."""
    method = value_at(tree, ("search", "method"))
    selected = [f"methods.{method}"] if isinstance(method, str) and method in REGISTRY else []
    for key in (*KEYS_DVC_NEEDS, *selected):
        *section, name = position = tuple(key.split("."))
        given = value_at(tree, tuple(section))
        if not isinstance(given, dict) or name in given:
            continue
        misspelt = difflib.get_close_matches(name, given.keys() - set(keys_at(Params, tuple(section))))
        if not misspelt:  # or it is told as an unknown key
            yield position, f"is missing, and DVC stops without it; write {name}: {_default(position)} for the default"


def _default(position: Position) -> str:
    least = {"data": {"source": "digits"}, "search": {"method": "darts"}, "methods": {}, "transfer": {"data": None}}
    default = value_at(Params.model_validate(least).model_dump(mode="json"), position)
    return "{}" if isinstance(default, dict) else str(default)
