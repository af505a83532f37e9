"""Ways to spoil a project, and what the stage that meets the damage must say."""

# ruff: noqa: E501 -- a table reads best with a case a row

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from nascommon.runtime.artefacts import read_tensors, write_tensors
from tests.stages.project import Project

Spoil = Callable[[Project], None]


@dataclass(frozen=True)
class Refusal:
    """A stage in a project that was spoilt refuses with a message of one paragraph."""

    name: str
    start: str
    """One of prepared, searched or finished: where the project stands before it is spoilt."""
    spoil: Spoil
    stage: str
    message: str
    arguments: tuple[str, ...] = ()


def overwrite(file: str, content: bytes) -> Spoil:
    """Replace a file."""

    def act(project: Project) -> None:
        (project.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / file).write_bytes(content)

    return act


def tear(file: str) -> Spoil:
    """Cut a file in half."""

    def act(project: Project) -> None:
        content = (project.folder / file).read_bytes()
        (project.folder / file).write_bytes(content[: len(content) // 2])

    return act


def remove(file: str) -> Spoil:
    """Delete a file."""
    return lambda project: (project.folder / file).unlink()


def edit_json(file: str, *keys: Any, to: Any) -> Spoil:
    """Set a value inside a JSON file."""

    def act(project: Project) -> None:
        path = project.folder / file
        tree = section = json.loads(path.read_text(encoding="utf-8"))
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = to
        path.write_text(json.dumps(tree), encoding="utf-8")

    return act


def change(**values: Any) -> Spoil:
    """Change settings."""

    def act(project: Project) -> None:
        project.change(**values)

    return act


def picture(path: Path, height: int = 8, width: int | None = None, mode: str = "RGB", number: int = 0) -> None:
    """Write one picture of noise, square unless told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (height, width or height, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def pictures(spoil: Callable[[Path], None], **data: Any) -> Spoil:
    """Make a folder of two classes, spoil it, and let ``data`` point there."""

    def act(project: Project) -> None:
        root = project.folder / "pictures"
        for number in range(12):
            picture(root / ("cat" if number < 6 else "dog") / f"{number:02d}.png", number=number)
        spoil(root)
        project.change(data={"source": "image_folder", "path": "pictures", **data})

    return act


def torn_picture(root: Path) -> None:
    (root / "cat/03.png").write_bytes((root / "cat/03.png").read_bytes()[:60])


def text_picture(root: Path) -> None:
    (root / "cat/03.png").write_text("no picture", encoding="utf-8")


def no_snapshots(project: Project) -> None:
    edit_json("data/search/search.json", "snapshots", to=[])(project)
    project.change(kendall_tau__source="epochs")


def sixteen_bits(root: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(root / "dog" / "07.png")


def one_class(root: Path) -> None:
    for path in (root / "dog").iterdir():
        path.unlink()
    (root / "dog").rmdir()


def flat_validation(project: Project) -> None:
    for number in range(4):
        picture(project.folder / f"net/train/n{number % 2}/{number}.JPEG", 32, number=number)
        picture(project.folder / f"net/val/{number}.JPEG", 32, number=number)
    project.change(data={"source": "imagenet", "path": "net", "size": 32})


def foreign_weights(project: Project) -> None:
    save_file({"supernet.other": torch.zeros(1)}, project.folder / "data/search/final.safetensors")


def lose_pictures(project: Project) -> None:
    folder = project.folder / "data/prepared/transfer/train"
    gone = torch.tensor(list(b"gone"), dtype=torch.uint8)
    write_tensors(folder / "samples.safetensors", {**read_tensors(folder / "samples.safetensors"), "root": gone})


TRAIN, TEST = (f"data/prepared/target/{name}/samples.safetensors" for name in ("train", "test"))
MANIFEST, SPLIT = "data/prepared/target/manifest.json", "data/prepared/target/split.json"

REFUSALS = (
    # settings that only a machine or the data can refuse
    Refusal("params file missing", "prepared", remove("params.yaml"), "search", r"params\.yaml: cannot be read .*copy a file of presets/"),
    Refusal("unknown device", "prepared", change(device="gpu"), "search", r"device: must be auto, cpu, cuda.*'gpu'"),
    Refusal("absent GPU", "prepared", change(device="cuda:99"), "search", r"device: cuda:99 is not there .*use auto or cpu"),
    Refusal("device of another maker", "prepared", change(device="mps"), "search", r"device: .*mps"),
    Refusal("odd channels for the imagenet stem", "searched", change(transfer__network__channels=5), "transfer",
            r"transfer\.network\.channels.*even"),
    # pictures
    Refusal("folder of pictures missing", "prepared", change(data={"source": "image_folder", "path": "nowhere"}), "prepare",
            r"params\.yaml: data\.path: nowhere is not a folder"),
    Refusal("folder of nobody", "prepared", change(data={"source": "image_folder", "path": "~nobody-of-that-name/x"}), "prepare",
            r"data\.path: ~nobody-of-that-name/x is not a folder"),
    Refusal("path longer than allowed", "prepared", change(data={"source": "image_folder", "path": "a" * 5000}), "prepare",
            r"data\.path: a{600,}\.\.\.a+ is not a folder; name the folder"),
    Refusal("path with a NUL", "prepared", change(data={"source": "image_folder", "path": "a\0b"}), "prepare", r"data\.path: a\\x00b is not a folder"),
    Refusal("folder with a line break", "prepared", change(data={"source": "image_folder", "path": "a\nb"}), "prepare", r"data\.path: a\\nb is not a folder"),
    Refusal("split folder longer than allowed", "prepared", pictures(lambda root: None, train_folder="a" * 300), "prepare",
            r"data\.train_folder: .*a is not a folder"),
    Refusal("picture torn", "prepared", pictures(torn_picture),
            "prepare", r"1 of \d+ pictures cannot be used: .*cat/03\.png: cannot be decoded"),
    Refusal("picture that is text", "prepared", pictures(text_picture),
            "prepare", r"cat/03\.png"),
    Refusal("class empty", "prepared", pictures(lambda root: (root / "bird").mkdir()), "prepare", r"class folders without pictures: bird"),
    Refusal("class alone", "prepared", pictures(one_class), "prepare", r"needs at least 2 class folders with pictures \(got 1: cat\)"),
    Refusal("class too small", "prepared", pictures(lambda root: picture(root / "bird/0.png")), "prepare", r"bird has 1"),
    Refusal("sizes mixed", "prepared", pictures(lambda root: picture(root / "cat/99.png", 9)), "prepare",
            r"data\.size: pictures differ in size, .* is 8 x 8 and .*99\.png is 9 x 9"),
    Refusal("sixteen bits", "prepared", pictures(sixteen_bits), "prepare", r"dog/07\.png: has more than 8 bits per channel"),
    Refusal("unknown class", "prepared", pictures(lambda root: None, classes=["cat", "cow"]), "prepare",
            r"data\.classes: no folder for cow in .*there are cat; dog"),
    Refusal("validation pictures not sorted", "prepared", flat_validation, "prepare", r"net: imagenet needs train/WNID/.*no val folder here is sorted"),
    Refusal("limit below the classes", "prepared", change(data__limit=15), "prepare", r"data\.limit: 10 classes need at least 20 .*\(got 15\)"),
    Refusal("share of the search below the classes", "prepared", change(data__search_fraction=1e-9), "prepare",
            r"data\.search_fraction: leaves the search less than two pictures of a class.*\(got 1e-09\); the smallest class has 16, so give at least 0\.125"),
    Refusal("CIFAR folder empty", "prepared", change(data={"source": "cifar10", "path": "."}), "prepare", r"data\.path: .* lacks CIFAR10 files"),
    Refusal("pictures that do not fit the cifar stem", "prepared", pictures(lambda root: None, size=30), "prepare",
            r"data\.size: images of 30 x 30 do not fit the cifar stem.*multiple of 4"),
    Refusal("pictures that do not fit the imagenet stem", "searched", change(transfer__data__size=40), "prepare",
            r"transfer\.data\.size: images of 40 x 40 do not fit the imagenet stem.*multiple of 32"),
    # prepared data
    Refusal("nothing prepared", "prepared", remove(MANIFEST), "search", rf"{MANIFEST}: no such file; run `dvc repro`"),
    Refusal("manifest torn", "prepared", tear(MANIFEST), "search", rf"{MANIFEST}: not a JSON file"),
    Refusal("manifest of another version", "prepared", edit_json(MANIFEST, "version", to=99), "search", rf"{MANIFEST}: version: must be 1 \(got 99\); `dvc repro prepare` makes it anew"),
    Refusal("images torn", "prepared", tear(TRAIN), "search", rf"{TRAIN}: not a whole safetensors file"),
    Refusal("images of another preparation", "prepared",
            lambda project: save_file({"images": torch.zeros(9, 1, 8, 8, dtype=torch.uint8), "labels": torch.arange(9)}, project.folder / TRAIN),
            "search", r"data/prepared/target.*`dvc repro prepare` makes it anew"),
    Refusal("images without labels", "prepared",
            lambda project: save_file({"images": torch.zeros(9, 1, 8, 8)}, project.folder / TRAIN), "search", rf"{TRAIN}: lacks images or labels"),
    Refusal("split without a half", "prepared", edit_json(SPLIT, "architecture", to=[]), "search", rf"{SPLIT}: architecture does not fit"),
    Refusal("split beyond the images", "prepared", edit_json(SPLIT, "weights", to=[100000]), "search", rf"{SPLIT}: weights does not fit"),
    Refusal("split that is a list", "prepared", overwrite(SPLIT, b"[]"), "search", rf"{SPLIT}: weights must be a list of different whole numbers"),
    Refusal("list of files torn", "searched", tear("data/prepared/transfer/train/samples.safetensors"), "transfer", r"train/samples\.safetensors: not a whole safetensors"),
    Refusal("pictures gone", "searched", lose_pictures, "transfer", r"samples\.safetensors: the pictures are no longer at .*gone"),
    Refusal("test images torn", "finished", tear(TEST), "evaluate", rf"{TEST}: not a whole safetensors file"),
    # what a search left
    Refusal("nothing searched", "prepared", lambda project: None, "discretize", r"data/search: no such file"),
    Refusal("search of another version", "searched", edit_json("data/search/search.json", "schema", to=0), "discretize",
            r"search\.json: schema: must be 2 \(got 0\); `dvc repro search` makes it anew"),
    Refusal("search without its end", "searched", edit_json("data/search/search.json", "final", to={}), "discretize", r"search\.json: final\.file is missing, and \d+ more mistakes; `dvc repro search` makes it anew"),
    Refusal("search torn", "searched", tear("data/search/final.safetensors"), "discretize", r"final\.safetensors: not a whole safetensors file"),
    Refusal("weights of something else", "searched", foreign_weights, "discretize", r"final\.safetensors: does not fit the method's supernet"),
    Refusal("search of another size", "searched", edit_json("data/search/search.json", "final", "channels", to=6), "kendall_tau",
            r"final\.safetensors: does not fit the method's supernet"),
    Refusal("no snapshots", "searched",
            no_snapshots,
            "kendall_tau", r"kendall_tau: the search kept no snapshots; set search\.snapshots"),
    # genotypes and networks
    Refusal("genotype edited wrongly", "searched", edit_json("data/discretize/genotype.json", "normal", "nodes", 0, 0, 0, to="conv"), "retrain",
            r"genotype\.json: normal: node 2: unknown operation 'conv' \(known: "),
    Refusal("network of another genotype", "finished", edit_json("data/retrain/network.json", "spec", "channels", to=6), "evaluate",
            r"retrain/network\.json: does not fit its weights"),
    Refusal("network with an unknown key", "finished", edit_json("data/retrain/network.json", "spec", "depth", to=6), "evaluate",
            r"retrain/network\.json: spec\.depth: .*not permitted.*`dvc repro retrain` makes it anew"),
    Refusal("network torn", "finished", tear("data/baseline/random_000/network.safetensors"), "evaluate",
            r"random_000/network\.safetensors: not a whole safetensors file"),
    Refusal("metrics without a figure", "finished", overwrite("data/metrics/search.json", b"{}"), "evaluate",
            r"data/metrics/search\.json: search_seconds is missing; `dvc repro search` makes it anew"),
    Refusal("metrics that are words", "finished", overwrite("data/metrics/retrain.json", b'{"params": "many"}'), "evaluate",
            r"data/metrics/retrain\.json: params: .*number \(got \"many\"\); `dvc repro retrain`"),
    Refusal("metrics missing", "finished", remove("data/metrics/retrain.json"), "evaluate", r"data/metrics/retrain\.json: no such file"),
)  # fmt: skip
