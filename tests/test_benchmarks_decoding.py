"""Decoders give one view of a picture, and every way to make it is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from benchmarks import decoding
from nascommon.settings import UserError

# Python 3.12 warns whenever a process with threads forks; loader processes of torch are made for that.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The image decoding .* of TorchVision are deprecated:DeprecationWarning"),
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.radial_gradient("L").resize((60, 40 + number)).convert("RGB").save(tmp_path / "photos" / f"{number}.jpg")
    return tmp_path / "photos"


def test_every_exact_decoder_gives_the_view_of_the_product(photos: Path) -> None:
    for path in photos.iterdir():
        views = {}
        exact = {name: decode for name, decode in decoding.decoders().items() if "fast" not in name}
        for name, work in (
            ("product", decoding.product),
            *((n, lambda p, d=d: decoding.cropped(d, p)) for n, d in exact.items()),
        ):
            torch.manual_seed(7)
            views[name] = work(path)
        assert len(views) >= 3
        assert all(torch.equal(view, views["product"]) for view in views.values())
    assert decoding.differences(list(photos.iterdir()))["torchvision.io.decode_jpeg"] == {"mean": 0, "largest": 0}


def test_the_command_times_every_way_and_writes_it(photos: Path, tmp_path: Path) -> None:
    app, out = typer.Typer(), tmp_path / "decoding.json"
    app.command()(decoding.main)
    threads = torch.get_num_threads()
    done = CliRunner().invoke(
        app, [str(photos), "--sides", "30x20", "--workers", "1", "--repeats", "1", "--out", str(out)]
    )
    torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert (report["pictures"], report["sides"]) == (3, "30x20")
    ways = {rate["way"] for rate in report["rates"]}
    assert {decoding.PRODUCT, decoding.LOADER, "Pillow: decoding alone"} < ways
    assert all(rate["per_core"][0] <= rate["per_core"][1] <= rate["per_core"][2] for rate in report["rates"])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no JPEG files"):
        decoding.main(tmp_path)
