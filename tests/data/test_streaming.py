"""Pictures streamed from files are the same with any number of loader processes, and a broken one is named."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

from nascommon.data.batches import training_batches
from nascommon.data.prepared import Prepared
from nascommon.data.samples import Paths
from nascommon.data.settings import Augment
from nascommon.data.streaming import evaluation_pictures, interrupts_wait, stream, training_pictures
from nascommon.runtime.mendable import LOADER_DIED
from nascommon.runtime.seeding import derive
from nascommon.settings import UserError

CPU = torch.device("cpu")
Make = Callable[..., Prepared]
# Python 3.12 warns whenever a process with threads forks; loader processes of torch are made for that.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_loader_processes_change_no_result(make: Make) -> None:
    part = make(source="digits", limit=60, storage="files", size=8, channels=3).part("weights")
    alone, helped = (
        training_batches(part, 8, Augment(), seed=3, device=CPU, cutout=2, workers=workers) for workers in (0, 2)
    )
    for key in (0, 1, 0):
        for (a, x), (b, y) in zip(alone.epoch(key), helped.epoch(key), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(x, y)


def test_an_abandoned_epoch_does_not_touch_the_next(make: Make) -> None:
    part = make(source="digits", limit=60, storage="files", size=8).part("weights")
    batches = training_batches(part, 5, Augment(), seed=3, device=CPU, workers=2)
    expected = [images for images, _ in batches.epoch(1)]
    next(iter(batches.epoch(0)))
    assert all(torch.equal(a, b) for a, (b, _) in zip(expected, batches.epoch(1), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_later_is_named_in_one_line(make: Make, folder: Path, workers: int) -> None:
    part = make(source="image_folder", path=str(folder), storage="files", size=8).part("weights")
    broken = folder / part.samples.names[1]  # type: ignore[attr-defined]  # files
    broken.write_bytes(broken.read_bytes()[:-80])
    with pytest.raises(UserError) as caught:
        list(training_batches(part, 2, Augment(), seed=0, device=CPU, workers=workers).epoch(0))
    assert str(caught.value).startswith(f"{broken}: cannot be decoded")
    assert "\n" not in str(caught.value)


def test_the_training_view_crops_flips_and_jitters_each_picture_apart(make: Make, folder: Path) -> None:
    gradient = Image.linear_gradient("L").rotate(90).resize((8, 8)).convert("RGB")
    for file in folder.rglob("*.png"):
        gradient.save(file)
    part = make(source="image_folder", path=str(folder), storage="files", size=8).part("train")

    def views(augment: Augment, key: int = 0) -> torch.Tensor:
        return next(iter(training_batches(part, 10, augment, seed=0, device=CPU, workers=0).epoch(key))).images

    def different(images: torch.Tensor) -> int:
        return len({tuple(image) for image in images.flatten(1).tolist()})

    still = Augment(flip=False, resized_crop_scale=(1.0, 1.0), color_jitter=(0.0, 0.0, 0.0, 0.0))
    assert different(views(still)) == 1
    assert different(views(still.model_copy(update={"flip": True}))) == 2
    assert different(views(still.model_copy(update={"color_jitter": (0.4, 0.0, 0.0, 0.0)}))) == 10
    assert different(views(still.model_copy(update={"resized_crop_scale": (0.1, 1.0)}))) > 5
    jittered = still.model_copy(update={"color_jitter": (0.4, 0.0, 0.0, 0.0)})
    assert different(torch.cat([views(jittered, key) for key in (0, 1)])) > 15  # another epoch, other views


def test_the_training_view_is_torchvision_s_up_to_rounding(make: Make, folder: Path) -> None:
    from torchvision.transforms import v2

    noise = torch.rand(12, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(noise, (40, 50), mode="bicubic").clamp(0, 1)
    for file, picture in zip(sorted(folder.rglob("*.png")), pixels, strict=True):
        v2.functional.to_pil_image(picture).save(file)
    part = make(source="image_folder", path=str(folder), storage="files", size=32).part("train")
    files = part.samples
    assert isinstance(files, Paths)
    theirs = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.2)])
    view = training_pictures(32, Augment(), "crop")
    for ours, _ in stream(files, 3, pickle.loads(pickle.dumps(view)), [torch.arange(len(part))], 5, CPU, 0):
        for index, picture in enumerate(ours):
            torch.manual_seed(derive(5, index))
            whole = v2.functional.pil_to_tensor(Image.open(files.root / files.names[index]))
            assert float((picture - 255 * theirs(whole.float() / 255)).abs().mean()) < 0.5  # bytes after the resizing


@pytest.mark.parametrize("workers", [0, 1])
def test_bytes_travel_and_lie_in_the_same_order_wherever_they_were_stacked(make: Make, workers: int) -> None:
    part = make(source="digits", limit=60, storage="files", size=8, channels=3).part("weights")
    assert isinstance(part.samples, Paths)
    still = Augment(color_jitter=(0.0, 0.0, 0.0, 0.0))
    for view in (training_pictures(6, still, "crop"), evaluation_pictures(6, "crop")):
        for images, _ in stream(part.samples, 3, view, [torch.arange(5)], 0, CPU, workers):
            assert images.dtype == torch.uint8
            assert images.shape == (5, 3, 6, 6)
            assert images.is_contiguous()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_block_and_then_comes(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # a job in the background starts with Ctrl-C ignored
    done = []

    def interrupted() -> None:
        with interrupts_wait():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            done.append("the block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["the block"]
    assert signal.signal(number, before) is signal.default_int_handler


def test_loader_processes_leave_signals_to_the_trainer(make: Make) -> None:
    part = make(source="digits", limit=60, storage="files", size=8).part("weights")
    alone, helped = (training_batches(part, 4, Augment(), seed=3, device=CPU, workers=workers) for workers in (0, 2))
    running = set(psutil.Process().children())
    batches = helped.epoch(0)
    seen = [next(batches)]
    loaders = set(psutil.Process().children()) - running
    assert len(loaders) == 2
    for loader in loaders:
        loader.terminate()
    seen += batches
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(alone.epoch(0), seen, strict=True))
    _, alive = psutil.wait_procs(loaders, timeout=10)
    assert alive == []


def test_a_loader_process_that_dies_is_an_error_of_pytorch_that_the_commands_know(make: Make) -> None:
    part = make(source="digits", limit=60, storage="files", size=8).part("weights")
    running = set(psutil.Process().children())
    batches = training_batches(part, 4, Augment(), seed=3, device=CPU, workers=2).epoch(0)
    next(batches)
    loader = (set(psutil.Process().children()) - running).pop()
    # PyTorch's signal handler raises wherever the test is when the process dies, so that is waited for in here.
    with pytest.raises(RuntimeError, match=f"^{LOADER_DIED}"):  # noqa: PT012
        loader.kill()
        loader.wait()
        list(batches)
