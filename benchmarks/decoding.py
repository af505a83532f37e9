"""Pictures a second that a core decodes, crops and resizes for training, by decoder, in threads and in processes.

    python -m benchmarks.decoding FOLDER --out decoding.json
    python -m benchmarks.decoding FOLDER --sides 500x375 --quality 98 --workers 1,2

Ways are timed in turns. A core's rate is that of CPU seconds, those of children included: it holds on a machine that is
busy with other work, too, where the rate of the clock does not. Every decoder gives the same crop of the same picture;
how far its pixels are from Pillow's is measured, too. ``simplejpeg`` is taken where it is installed.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from nascommon.data.listing import Names
from nascommon.data.pictures import open_picture
from nascommon.data.samples import Paths, pixels_of
from nascommon.data.settings import Augment
from nascommon.data.streaming import stream, training_pictures
from nascommon.data.walk import files_below, is_picture
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.hardware import cores, describe
from nascommon.runtime.revision import revision
from nascommon.settings import UserError

SIDE = 224
BATCH = 64
CPU = torch.device("cpu")
PRODUCT = "Pillow, as the product does"
LOADER = "Pillow, the product's loader"
Decoder = Callable[[Path], Tensor]
"""Function from a JPEG file to uint8 pixels [3, H, W]."""


@dataclass(frozen=True)
class Rate:
    """How fast a way is.

    Attributes:
        way: decoder and what else is done.
        workers: threads or processes.
        kind: thread or process.
        per_second: pictures, by the clock, all workers together.
        per_core: pictures a second of CPU time, the lowest, the median and the highest of the repeats.
    """

    way: str
    workers: int
    kind: str
    per_second: float
    per_core: tuple[float, float, float]


def decoders() -> dict[str, Decoder]:
    """Return what can decode here, Pillow first."""
    found: dict[str, Decoder] = {
        "Pillow": lambda path: pixels_of(open_picture(path, 3)),
        "torchvision.io.decode_jpeg": lambda path: decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB),
    }
    if find_spec("simplejpeg"):
        simplejpeg: Any = import_module("simplejpeg")

        def turbo(path: Path, **options: bool) -> Tensor:
            return torch.from_numpy(simplejpeg.decode_jpeg(path.read_bytes(), **options)).permute(2, 0, 1)

        found["simplejpeg"] = turbo
        found["simplejpeg, fast transform and upsampling"] = partial(turbo, fastdct=True, fastupsample=True)
    return found


def cropped(decode: Decoder, path: Path) -> Tensor:
    """Return the training view [3, 224, 224] of a picture, as the product sees it but for who decodes."""
    return _view(decode(path))


def _view(pixels: Tensor) -> Tensor:
    crop = v2.RandomResizedCrop(SIDE, scale=Augment().resized_crop_scale)
    window = crop.make_params([pixels])
    part = vision.crop(pixels, window["top"], window["left"], window["height"], window["width"])
    seen: Tensor = vision.resize(part, crop.size, antialias=True)
    seen = seen.flip(2) if float(torch.rand(1)) < 0.5 else seen
    v2.ColorJitter(*Augment().color_jitter).make_params([])
    return seen


def product(path: Path) -> Tensor:
    """Return the training view as the product makes it."""
    return training_pictures(SIDE, Augment(), "crop")(open_picture(path, 3))[0]


def in_threads(work: Callable[[Path], object], paths: Sequence[Path], workers: int) -> None:
    """Do the work for every picture in so many threads."""
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, paths):
            pass


def in_loader(paths: Sequence[Path], workers: int) -> None:
    """Load the pictures as an epoch of training does, in so many processes."""
    root = Path(os.path.commonpath(paths))
    samples = Paths(root, Names(str(path.relative_to(root)) for path in paths), torch.zeros(len(paths)).long())
    view, chunks = training_pictures(SIDE, Augment(), "crop"), torch.split(torch.arange(len(paths)), BATCH)
    for _images, _labels in stream(samples, 3, view, chunks, 0, CPU, workers):
        pass


def ways(paths: Sequence[Path], workers: Sequence[int]) -> dict[tuple[str, int, str], Callable[[], None]]:
    """Return everything that is timed, by name, workers and kind of worker."""
    works: dict[str, Callable[[Path], object]] = {PRODUCT: product}
    for name, decode in decoders().items():
        works[f"{name}: decoding alone"] = decode
        works[f"{name}: decoded, cropped, resized"] = partial(cropped, decode)
    timed: dict[tuple[str, int, str], Callable[[], None]] = {
        (name, 1, "thread"): partial(in_threads, work, paths, 1) for name, work in works.items()
    }
    for count in workers:
        timed[PRODUCT, count, "thread"] = partial(in_threads, product, paths, count)
        timed[LOADER, count, "process"] = partial(in_loader, paths, count)
    return timed


def measure(paths: Sequence[Path], workers: Sequence[int], repeats: int) -> list[Rate]:
    """Time all ways in turns."""
    timed = ways(paths, workers)
    clock: dict[Any, list[float]] = {key: [] for key in timed}
    processor: dict[Any, list[float]] = {key: [] for key in timed}
    for _ in range(repeats):
        for key, work in timed.items():
            started, busy = time.perf_counter(), _cpu_seconds()
            work()
            clock[key].append(len(paths) / (time.perf_counter() - started))
            processor[key].append(len(paths) / max(_cpu_seconds() - busy, 1e-9))
    rates = []
    for key, (way, count, kind) in zip(timed, timed, strict=True):
        low, high = min(processor[key]), max(processor[key])
        rates.append(Rate(way, count, kind, median(clock[key]), (low, median(processor[key]), high)))
    return rates


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)  # os.times counts in hundredths


def differences(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Return how far every decoder's pixels are from Pillow's: mean and largest difference of 255."""
    pillow, *others = decoders().items()
    found = {}
    for name, decode in others:
        apart = [(decode(path).int() - pillow[1](path).int()).abs() for path in paths]
        mean = sum(float(each.float().mean()) for each in apart) / len(apart)
        found[name] = {"mean": mean, "largest": float(max(each.max() for each in apart))}
    return found


def enlarge(paths: Sequence[Path], folder: Path, sides: tuple[int, int], quality: int) -> list[Path]:
    """Save the pictures anew with other sides (width, height), as ImageNet's are larger than small samples of it."""
    made = [folder / f"{index:06d}.jpg" for index in range(len(paths))]
    for path, to in zip(paths, made, strict=True):
        open_picture(path, 3).resize(sides, Image.Resampling.LANCZOS).save(to, quality=quality)
    return made


def main(
    folder: Annotated[Path, typer.Argument(help="folder of JPEG files")],
    out: Annotated[Path | None, typer.Option(help="JSON file")] = None,
    limit: Annotated[int, typer.Option(min=1, help="pictures, the first of every so many")] = 256,
    sides: Annotated[str, typer.Option(help="WIDTHxHEIGHT that the pictures are brought to; empty: as they are")] = "",
    quality: Annotated[int, typer.Option(min=1, max=100, help="of JPEG, with --sides")] = 98,
    workers: Annotated[str, typer.Option(help="numbers of threads and processes; empty: 1 and all cores")] = "",
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Measure how many pictures a second a core decodes, crops and resizes."""
    torch.set_num_threads(1)  # as in a loader process
    names = [name for name in files_below(folder) if is_picture(name) and name.lower().endswith((".jpg", ".jpeg"))]
    if not names:
        raise UserError(f"{folder}: holds no JPEG files")
    paths = [folder / name for name in names[:: max(len(names) // limit, 1)][:limit]]
    counts = [int(word) for word in workers.split(",")] if workers else sorted({1, cores()})
    with tempfile.TemporaryDirectory() if sides else nullcontext() as room:
        if room is not None:
            width, height = map(int, sides.split("x"))
            paths = enlarge(paths, Path(room), (width, height), quality)
        report: dict[str, Any] = {
            "command": f"python -m benchmarks.decoding FOLDER --limit {limit} --sides '{sides}' --quality {quality}",
            "commit": str(revision(Path(__file__).parent)),
            "machine": describe(CPU),
            "torch": torch.__version__,
            "pictures": len(paths),
            "sides": sides or "as they are",
            "mean_bytes": sum(path.stat().st_size for path in paths) / len(paths),
            "from_pillow": differences(paths),
            "rates": [asdict(rate) for rate in measure(paths, counts, repeats)],
        }
    for rate in report["rates"]:
        low, middle, high = rate["per_core"]
        many = f"{rate['workers']} {rate['kind']}"
        typer.echo(
            f"{rate['way']:68} {many:10} {middle:6.0f} a core ({low:.0f} to {high:.0f}); {rate['per_second']:.0f} a s"
        )
    if out is not None:
        write_json(out, report)


if __name__ == "__main__":
    typer.run(main)
