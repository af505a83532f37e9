"""What a stage exports answers as the network does, in a process that knows nothing of this package."""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from PIL import Image

from nascommon.export.trained import TrainedNetwork
from nascommon.pipeline import export as exporting
from nascommon.pipeline.export import export
from nascommon.pipeline.measured import accuracy, in_words
from nascommon.settings import UserError
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Choice, Genotype
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.space.space import SPACES
from tests.export.taken_home import CLASSES, batches, elsewhere, train

FOLDER = Path("data/retrain")
DARTS, SMALL = PUBLISHED["DARTS_V2"], NetworkSpec(2, 3)


def cell_201(seed: int) -> Genotype:
    return random_genotype(SPACES["nasbench201"], torch.Generator().manual_seed(seed))


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedNetwork:
    monkeypatch.chdir(tmp_path)
    return train(FOLDER, DARTS, SMALL)


def asked(trained: TrainedNetwork, folder: Path) -> list[torch.Tensor]:
    """Write what the network shall be asked, and return its own answers."""
    given = batches(trained.pictures.channels)
    (folder / "given.json").write_text(json.dumps([pictures.tolist() for pictures in given]))
    answers = [trained.classifier(pictures) for pictures in given]
    assert all(float(one.max()) > 0.5 for one in answers), "answers that are nearly uniform show nothing"
    return answers


def same(found: list[list[list[float]]], expected: list[torch.Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.tensor(one), other, atol=1e-5, rtol=0)


GIVEN = "import json, torch\ngiven = [torch.tensor(one, dtype=torch.uint8) for one in json.load(open('given.json'))]\n"


@pytest.mark.slow
def test_onnx_runs_in_onnxruntime_alone(trained: TrainedNetwork, capsys: pytest.CaptureFixture[str]) -> None:
    export("onnx", Path("home"))
    worst = re.search(r"worst difference +(\S+) of a probability", capsys.readouterr().out)
    assert worst
    assert float(worst[1]) < 1e-5
    expected = asked(trained, Path("home"))
    script = (
        "import json, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('classifier.onnx')\n"
        "given = [numpy.array(one, dtype='uint8') for one in json.load(open('given.json'))]\n"
        "answers = [session.run(None, {'pictures': one})[0].tolist() for one in given]\n"
        "told = session.get_modelmeta().custom_metadata_map\n"
        "shapes = [session.get_inputs()[0].shape, session.get_outputs()[0].shape]\n"
        "print(json.dumps([answers, {name: json.loads(value) for name, value in told.items()}, shapes]))\n"
    )
    answers, told, shapes = elsewhere(script, Path("home"), "torch", "onnx")
    same(answers, expected)
    assert shapes == [["batch", 3, "height", "width"], ["batch", 3]]
    says_what_it_is(told)
    assert b"nascommon" not in Path("home/classifier.onnx").read_bytes()


@pytest.mark.slow
def test_the_program_of_torch_export_runs_in_torch_alone(trained: TrainedNetwork) -> None:
    export("torch_export", Path("home"))
    expected = asked(trained, Path("home"))
    script = GIVEN + (
        "told = {'details.json': ''}\n"
        "model = torch.export.load('classifier.pt2', extra_files=told).module()\n"
        "print(json.dumps([[model(one).tolist() for one in given], json.loads(told['details.json'])]))\n"
    )
    answers, told = elsewhere(script, Path("home"))
    same(answers, expected)
    says_what_it_is(told)


def test_the_python_file_takes_any_layout_with_torch_alone(trained: TrainedNetwork) -> None:
    export("python", Path("home"))
    expected = asked(trained, Path("home"))
    script = GIVEN + (
        "import classifier\n"
        "model = classifier.load()\n"
        "layouts = [given, [one.permute(0, 2, 3, 1) for one in given], [one / 255 for one in given]]\n"
        "answers = [[model(one).tolist() for one in layout] for layout in layouts]\n"
        "logits = model.network(torch.linspace(-2, 2, 192).reshape(1, 3, 8, 8)).tolist()\n"
        "print(json.dumps([answers, logits, classifier.DETAILS]))\n"
    )
    answers, logits, told = elsewhere(script, Path("home"))
    for layout in answers:
        same(layout, expected)
    torch.testing.assert_close(
        torch.tensor(logits), trained.network(torch.linspace(-2, 2, 192).reshape(1, 3, 8, 8)), atol=1e-5, rtol=1e-5
    )
    says_what_it_is(told)
    assert "nascommon" not in Path("home/classifier.py").read_text(encoding="utf-8")


def test_the_python_file_names_files_in_a_shell_as_predict_does(
    trained: TrainedNetwork, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export("python", Path("home"))
    export("python", Path("home"))  # again, over the first
    for side in (1, 3):
        Image.new("RGB", (side, side), (200, 50, 0)).save(f"{side}.png")
    Image.new("I;16", (4, 4)).save("deep.png")
    asked = ["1.png", "deep.png", "absent \udcff.png", "3.png"]
    monkeypatch.setattr("sys.argv", ["home/classifier.py", *asked])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        runpy.run_path("home/classifier.py", run_name="__main__")
    assert left.value.code == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "deep.png: has more than 8 bits per channel (mode I;16); save it with 8 bits"
    assert lines[2] == "absent \\udcff.png: no such file"
    orange = torch.tensor([200, 50, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)
    share, best = trained.classifier(orange)[0].max(0)
    assert lines[0].startswith(f"1.png  {CLASSES[best]} {share:.1%}")
    assert lines[3] == lines[0].replace("1.png", "3.png")
    monkeypatch.setattr("sys.argv", ["home/classifier.py"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path("home/classifier.py", run_name="__main__")
    assert left.value.code == 2
    assert capsys.readouterr() == ("", "usage: python classifier.py PICTURE...\n")


def test_a_folder_of_exports_that_is_a_file_or_in_one_is_named(trained: TrainedNetwork) -> None:
    Path("home").touch()
    for folder in (Path("home"), Path("home/below")):
        with pytest.raises(UserError, match=f"--out: must be a folder, or one that can be made .got {folder}: "):
            export("python", folder)


def says_what_it_is(told: dict[str, object]) -> None:
    assert told["name"] == "darts-image_folder-0"
    assert told["classes"] == list(CLASSES)
    assert told["genotype"] == DARTS.to_json()
    assert told["accuracy"] == {"value": 0.75, "on": "held-out training pictures", "n": 40}
    assert told["pictures"]["content_hash"] == "c0ffee"  # type: ignore[index]
    assert told["licence_of_data"] == "pictures of your own, whose licence you know"


DEAD = CellGenotype((((Choice("skip_connect", 0)),), ()), (2, 3))


@pytest.mark.parametrize(
    ("genotype", "spec", "pictures"),
    [
        (PUBLISHED["NASNet"], NetworkSpec(2, 4), {}),
        (PUBLISHED["AmoebaNet"], NetworkSpec(2, 4), {}),
        (PUBLISHED["PDARTS"], NetworkSpec(2, 5, stem="imagenet"), {"storage": "files"}),
        (PUBLISHED["EC_DARTS_cifar"], NetworkSpec(2, 3, image_channels=1), {"fit": "pad"}),
        (Genotype(dict.fromkeys(DARTS_KINDS, DEAD)), NetworkSpec(2, 3), {"fit": "stretch", "width": 12}),
        *((cell_201(seed), NetworkSpec(3, 6, auxiliary=False), {}) for seed in range(3)),
    ],
)
def test_every_operation_stem_and_skeleton_is_spelled_out_in_python(
    genotype: Genotype, spec: NetworkSpec, pictures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    train(FOLDER, genotype, spec, **pictures)
    export("python", Path("home"))
    (worst,) = re.findall(r"worst difference +(\S+) of a probability", capsys.readouterr().out)
    assert float(worst) < 1e-5


def test_an_export_that_answers_otherwise_is_refused(trained: TrainedNetwork) -> None:
    wrong = dict(exporting.WRITERS)
    export("python", Path("home"))
    text, first = Path("home/classifier.py").read_text(), Path("home/classifier.py").stat()
    assert "skip(channels, 1)" in text

    def broken(*arguments: object) -> list[Path]:
        files = wrong["python"](*arguments)  # type: ignore[arg-type]
        files[0].write_text(text.replace("self.nodes[0][0](s0) + ", "self.nodes[0][0](s1) + "))
        os.utime(files[0], ns=(first.st_atime_ns, first.st_mtime_ns))  # as if both were of the same moment
        return files

    with (
        mock.patch.dict(exporting.WRITERS, python=broken),
        pytest.raises(UserError, match=r"classifier\.py: a probability is .* more than 1e-04; do not use the file"),
    ):
        export("python", Path("home"))


def test_a_badly_conditioned_network_is_as_exact_as_float32_lets_it_be(
    trained: TrainedNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(exporting, "difference", return_value=(3e-4, 1e-3)):
        export("python", Path("home"))
    assert "3.0e-04 of a probability" in capsys.readouterr().out
    with (
        mock.patch.object(exporting, "difference", return_value=(3e-3, 1e-3)),
        pytest.raises(UserError, match=r"is 3\.0e-03 from that of the network, more than 1e-03"),
    ):
        export("python", Path("home"))


def test_what_cannot_be_taken_home_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: TrainedNetwork
) -> None:
    with pytest.raises(UserError, match=r"data/transfer/network\.json: no such file, nothing is trained yet"):
        export("python", Path("home"), "transfer")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UserError, match="--format onnx: onnx is not installed; pip install onnx onnxscript"):
        export("onnx", Path("home"))
    noisy = CellGenotype(((Choice("noise", 0), Choice("skip_connect", 1)),), (2,))
    train(FOLDER, Genotype(dict.fromkeys(DARTS_KINDS, noisy)), SMALL)
    with pytest.raises(UserError, match="--format: the genotype holds noise"):
        export("torch_export", Path("home"))


def test_the_accuracy_is_that_of_the_test_pictures_where_they_were_shown_this_training(trained: TrainedNetwork) -> None:
    path = Path("data/evaluate/results.json")
    path.parent.mkdir(parents=True)
    tree = {
        "stages": {"retrain": {"train_loss_0": 0.5, "train_loss": 0.7}}, "accuracies": [0.6, 0.9],
        "metrics": {"test_images": 1348},
    }  # fmt: skip
    path.write_text(json.dumps(tree))
    assert accuracy(trained) == {"value": 0.6, "on": "test pictures", "n": 1348}
    assert in_words(trained) == "60.00 % on test pictures, n = 1,348 (the first of 2 trainings, whose mean is 75.00 %)"
    path.write_text(json.dumps({**tree, "metrics": {}}))
    assert in_words(trained).startswith("60.00 % on test pictures ("), "an earlier version noted no number"
    path.write_text(json.dumps({**tree, "stages": {"retrain": {"train_loss": 0.7}}}))
    assert accuracy(trained) == {"value": 0.75, "on": "held-out training pictures", "n": 40}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch_export"])
@pytest.mark.parametrize("what", ["imagenet", "nasbench201", "padded"])
def test_every_stem_and_skeleton_is_a_graph(
    form: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cases: dict[str, tuple[Genotype, NetworkSpec, dict[str, Any]]] = {
        "imagenet": (DARTS, NetworkSpec(2, 3, stem="imagenet"), {"storage": "files"}),
        "nasbench201": (cell_201(3), NetworkSpec(3, 3, auxiliary=False), {}),
        "padded": (PUBLISHED["AmoebaNet"], NetworkSpec(2, 3, image_channels=1), {"fit": "pad", "width": 12}),
    }
    genotype, spec, pictures = cases[what]
    train(FOLDER, genotype, spec, **pictures)
    export(form, Path("home"))  # type: ignore[arg-type]
    (worst,) = re.findall(r"worst difference +(\S+) of a probability", capsys.readouterr().out)
    assert float(worst) < 1e-5
