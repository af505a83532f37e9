"""The retrained network is given pictures as they are and says what evaluation would count."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.loading import open_data
from nascommon.pipeline.paths import TARGET_DATA, TRANSFER_DATA
from nascommon.pipeline.predict import FOLDERS, Trainer
from nascommon.training.artefact import load_network
from nascommon.training.loop import predict as logits_of
from tests.stages.project import CommandResult, Project

CPU = torch.device("cpu")


def saved(pixels_CHW: Tensor, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = pixels_CHW.permute(1, 2, 0).squeeze(2).numpy()
    Image.fromarray(pixels).save(path)
    return path


def said(result: CommandResult) -> list[dict[str, float]]:
    return [{one["class"]: one["probability"] for one in told["answers"]} for told in json.loads(result.out)]


@pytest.mark.parametrize("stage", ["retrain", "transfer"])
def test_files_get_the_probabilities_that_evaluation_computes(finished: Project, stage: Trainer) -> None:
    data = open_data(finished.folder / (TARGET_DATA if stage == "retrain" else TRANSFER_DATA), 0, CPU)
    part = data.prepared.part("test").subset(range(8))
    if stage == "retrain":
        files = [saved(pixels, finished.folder / f"new/{i}.png") for i, pixels in enumerate(part.samples.images)]  # type: ignore[attr-defined]
    else:
        files = [part.samples.root / name for name in part.samples.names]  # type: ignore[attr-defined]
    network, _, _ = load_network(finished.folder / FOLDERS[stage], CPU, stage)
    expected = logits_of(network, data.evaluation(part, 8))[0].softmax(1)
    result = finished.command("predict", *map(str, files), "--json", "--top", "10", "--stage", stage)
    assert result.status == 0, result.err
    found = torch.tensor([[one[name] for name in part.manifest.classes] for one in said(result)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_folder_is_walked_and_a_broken_picture_stops_nobody(finished: Project) -> None:
    folder = finished.folder / "photos"
    saved(torch.randint(0, 256, (3, 40, 31), dtype=torch.uint8), folder / "below/colour.jpg")
    saved(torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8), folder / "gray.png")
    (folder / "broken.png").write_bytes(b"no picture")
    result = finished.command("predict", "photos", "absent.png")
    assert result.status == 2
    lines = result.out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "photos/broken.png", "photos/gray.png", "photos/below/colour.jpg", "absent.png",
    ]  # fmt: skip
    assert "is not a readable picture" in lines[0]
    assert "remove the file" not in lines[0], "advice for training sets"
    assert lines[3] == "absent.png: no such file"
    assert [line.count("%") for line in lines[1:3]] == [3, 3]
    whose, error = result.err.splitlines()
    assert re.fullmatch(r"by darts-digits-0: \d+\.\d\d % on test pictures, n = 53", whose)
    assert error == "error: 2 of the pictures could not be read; the others are answered above"
    told = json.loads(finished.command("predict", "photos", "--json", "--top", "1").out)
    assert [sorted(one) for one in told] == [["error", "picture"], ["answers", "picture"], ["answers", "picture"]]
    assert math.isclose(
        sum(said(finished.command("predict", "photos/gray.png", "--json", "--top", "99"))[0].values()), 1, rel_tol=1e-5
    )


def test_what_can_be_no_file_is_a_line_beside_the_others(finished: Project) -> None:
    saved(torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8), finished.folder / "gray.png")
    (finished.folder / "empty").mkdir()
    (finished.folder / "loop.png").symlink_to("loop.png")
    asked = [f"{300 * 'a'}.png", "loop.png", "empty", "https://example.org/a.png", "new\nline \udcff.png", "gray.png"]
    result = finished.command("predict", *asked)
    assert result.status == 2
    lines = result.out.splitlines()
    assert lines[0] == f"{asked[0]}: cannot be read (File name too long); check its name and permissions"
    assert lines[1].startswith("loop.png: cannot be read (Too many levels of symbolic links)")
    assert lines[2].startswith("empty: holds no pictures; they end in .bmp")
    assert lines[3] == "https://example.org/a.png: no such file; only files are read, so download it first"
    assert lines[4] == "new\\nline \\udcff.png: no such file"
    assert lines[5].startswith("gray.png: ")
    told = json.loads(finished.command("predict", *asked, "--json").out)
    assert [one["picture"] for one in told] == asked
    assert told[4]["error"] == "no such file", "the name is told once, as it was given"


@pytest.mark.parametrize(
    ("stage", "untested", "on"),
    [
        ("retrain", True, "held-out training pictures, n = 16"),
        ("retrain", False, "test pictures, n = 53"),
        ("transfer", False, "test pictures, n = 27"),
    ],
)
def test_an_accuracy_is_told_with_the_number_of_its_pictures(
    finished: Project, stage: str, untested: bool, on: str
) -> None:
    if untested:
        (finished.folder / "data/evaluate/results.json").unlink()
    saved(torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8), finished.folder / "gray.png")
    said = finished.command("predict", "gray.png", "--stage", stage).err
    assert re.fullmatch(rf"by darts-digits-0\S*: \d+\.\d\d % on {on}\n", said)


def test_what_is_not_there_is_said_in_a_line(prepared: Project, tmp_path: Path) -> None:
    assert prepared.command("predict", ".").err == (
        "error: data/retrain/network.json: no such file, nothing is trained yet; run `dvc repro retrain`\n"
    )


def test_a_training_that_was_left_out_and_an_empty_folder_are_named(finished: Project) -> None:
    (finished.folder / "empty").mkdir()
    assert "error: empty: holds no pictures; they end in .bmp" in finished.command("predict", "empty").err
    finished.change(retrain__skip=True, baseline__architectures=0).stage("retrain")
    assert finished.command("predict", ".").err.startswith("error: data/retrain: retrain was left out")


def test_a_picture_of_another_shape_is_brought_to_the_shape_of_pictures_that_were_not_resized(
    finished: Project,
) -> None:
    path = finished.folder / "data/retrain/network.json"
    tree = json.loads(path.read_text())
    tree["pictures"] |= {"height": 8, "width": 16}
    path.write_text(json.dumps(tree))
    saved(torch.randint(0, 256, (1, 30, 20), dtype=torch.uint8), finished.folder / "tall.png")
    assert finished.command("predict", "tall.png").status == 0
