"""The model that MLflow gets takes pictures as they are, arrays and paths, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from nascommon.data.loading import open_data
from nascommon.export.graphs import Graph
from nascommon.export.logged import example_of, packaging_of
from nascommon.export.served import Served, named_pictures
from nascommon.export.trained import TrainedNetwork
from nascommon.pipeline.paths import TARGET_DATA, TRANSFER_DATA
from nascommon.pipeline.retrain import Retraining, log_classifier
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from tests.export.taken_home import ABSENT, CLASSES, elsewhere, train
from tests.stages.project import Project
from tests.tracking.store import QUIET

pytestmark = QUIET


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedNetwork]:
    """A folder with a model of MLflow and with pictures, and the network that the model is of."""
    from nascommon.tracking.models import save_model

    folder = tmp_path_factory.mktemp("home")
    trained = train(folder / "retrain", PUBLISHED["DARTS_V2"], NetworkSpec(2, 3))
    example = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    save_model(Graph(trained.classifier), example, folder / "model", packaging_of(trained))
    draws = np.random.default_rng(0)
    for name, shape in (("a.png", (9, 30, 3)), ("below/b.png", (50, 41, 3)), ("below/gray.png", (8, 8))):
        path = folder / "photos" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(draws.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return folder, trained


@pytest.mark.slow
def test_pyfunc_takes_arrays_and_paths_in_a_process_without_this_package(home: tuple[Path, TrainedNetwork]) -> None:
    folder, trained = home
    script = (
        "import json, warnings, numpy as np, pandas as pd\n"
        "warnings.simplefilter('ignore')\n"
        "import mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model('model')\n"
        "array = np.arange(2 * 11 * 13 * 3, dtype=np.uint8).reshape(2, 11, 13, 3)\n"
        "asked = [array, array.transpose(0, 3, 1, 2), array / 255, array[0], np.array(['photos']),\n"
        "         pd.DataFrame({'pictures': ['photos/a.png', 'photos/below']})]\n"
        "tables = [model.predict(one).to_dict('records') for one in asked]\n"
        "print(json.dumps([tables, str(model.metadata.signature), model.metadata.metadata]))\n"
    )
    absent = set(ABSENT) - {"PIL"}
    tables, signature, metadata = elsewhere(script, folder, only=absent)
    array = torch.arange(2 * 11 * 13 * 3).to(torch.uint8).reshape(2, 11, 13, 3)
    for table in tables[:3]:
        answers(table, trained.classifier(array))
    answers(tables[3], trained.classifier(array[:1]))
    for table in tables[4:]:
        assert [row["picture"] for row in table] == ["photos/a.png", "photos/below/b.png", "photos/below/gray.png"]
        files = [np.array(Image.open(folder / row["picture"])) for row in table]
        answers(table, torch.cat([trained.classifier(one) for one in files]))
    assert all(name in signature for name in (*CLASSES, "'error': string"))
    assert metadata["classes"] == list(CLASSES)
    assert metadata["genotype"] == PUBLISHED["DARTS_V2"].to_json()


def answers(table: list[dict[str, Any]], expected: torch.Tensor) -> None:
    found = torch.tensor([[row["probabilities"][name] for name in CLASSES] for row in table])
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)  # gray and floats are rounded to levels
    for row, probabilities in zip(table, expected, strict=True):
        assert row["class"] == CLASSES[int(probabilities.argmax())]
        assert row["probability"] == max(row["probabilities"].values())


def test_the_graph_takes_any_size_and_the_example_is_kept(home: tuple[Path, TrainedNetwork]) -> None:
    import mlflow.pytorch

    folder, trained = home
    graph = mlflow.pytorch.load_model(str(folder / "model"))
    for shape in ((1, 3, 8, 8), (3, 3, 30, 17)):
        pictures = torch.randint(256, shape, dtype=torch.uint8)
        torch.testing.assert_close(graph(pictures), trained.classifier(pictures))
    assert np.array(json.loads((folder / "model/input_example.json").read_text())).shape == (2, 3, 8, 8)
    assert not list((folder / "model").rglob("*.pkl"))


def test_a_code_of_another_version_has_another_name(home: tuple[Path, TrainedNetwork]) -> None:
    blocks, loader = packaging_of(home[1]).modules.items()
    assert f"from {blocks[0]} import" in loader[1]
    assert "from nascommon" not in blocks[1] + loader[1]
    assert blocks[0].split("_")[1] == loader[0].split("_")[1]


def test_pictures_of_several_sizes_come_one_by_one() -> None:
    small, large = np.zeros((4, 4), np.uint8), np.zeros((8, 6), np.uint8)
    several = np.empty(2, dtype=object)
    several[:] = [small, large]
    assert [one.shape for _, one in named_pictures(several)] == [(4, 4), (8, 6)]
    assert [one.shape for _, one in named_pictures({"pictures": [[[0, 1], [2, 3]]]})] == [(1, 2, 2)]


def test_a_file_that_cannot_be_read_is_a_row_beside_the_others(
    home: tuple[Path, TrainedNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trained = home
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for side in (1, 3):
        Image.new("RGB", (side, side), (200, 50, 0)).save(f"photos/{side}.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save("photos/deep.png")
    for name in ("photos/._a.jpg", "photos/doc.pdf", "text.png"):
        Path(name).write_text("no picture")
    Path("empty").mkdir()
    served = Served(folder / "model/data")
    table = served.predict(np.array(["photos", "text.png", "empty", 300 * "a", "photos/1.png"], dtype=object))
    rows = json.loads(json.dumps(table.to_dict("records"), allow_nan=False))
    told = {row["picture"]: row["error"] for row in rows}
    assert list(told) == ["photos/1.png", "photos/3.png", "photos/deep.png", "text.png", "empty", 300 * "a"]
    assert told["photos/deep.png"] == "has more than 8 bits per channel (mode I;16); save it with 8 bits"
    assert told["text.png"].startswith("is not a readable picture")
    assert told["empty"].startswith("holds no pictures")
    assert told[300 * "a"].startswith("cannot be read (File name too long)")
    for row in rows:
        if row["error"]:
            assert (row["class"], row["probability"], row["probabilities"]) == ("", None, {})
    orange = torch.tensor([200, 50, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)
    answers([row for row in rows if not row["error"]], trained.classifier(orange).expand(3, -1))
    with pytest.raises(ValueError, match="floats from 0 to 1"):
        served.predict(np.full((3, 8, 8), np.nan))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pictures"):
        list(named_pictures(str(tmp_path)))


@pytest.mark.parametrize("folder", [TARGET_DATA, TRANSFER_DATA])
def test_the_example_is_of_real_pictures(prepared_once: Project, folder: Path) -> None:
    data = open_data(prepared_once.folder / folder, 0, torch.device("cpu"))
    example, manifest = example_of(data), data.prepared.manifest
    assert example.dtype == torch.uint8
    assert example.shape == (2, manifest.channels, manifest.height, manifest.width)
    if folder == TARGET_DATA:
        assert torch.equal(example, cast("Any", data.prepared.part("train").samples).images[:2])


def test_what_was_trained_is_logged_as_a_classifier(
    prepared_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, PUBLISHED["DARTS_V2"], NetworkSpec(2, 3, image_channels=1), source="digits")
    logged: list[tuple[Any, ...]] = []
    run: Any = SimpleNamespace(stage="retrain", tracker=SimpleNamespace(model=lambda *told: logged.append(told)))
    data = open_data(prepared_once.folder / TARGET_DATA, 0, torch.device("cpu"))
    log_classifier(run, Retraining(cast("Any", None), data, tmp_path))
    ((graph, example, name, packaging),) = logged
    assert name == "darts-digits-0"
    assert graph(example).sum(1) == pytest.approx([1, 1])
    assert packaging.metadata["accuracy"] == {"value": 0.75, "on": "held-out training pictures", "n": 40}
    assert packaging.metadata["licence_of_data"].endswith("CC BY 4.0")


@pytest.mark.slow
def test_a_retrained_network_is_predicted_with_from_the_command_line(searched: Project) -> None:
    searched.change(tracking="sqlite:///mlflow.db").stage("retrain")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gapless-nas")
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.name == "darts-digits-0"
    photos = searched.folder / "photos"
    photos.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)).save(photos / "a.png")
    (searched.folder / "asked.json").write_text(json.dumps({"inputs": ["photos"]}))
    done = subprocess.run(
        [Path(sys.executable).parent / "mlflow", "models", "predict", "-m", model.artifact_location,
         "-i", "asked.json", "-t", "json", "--env-manager", "local"],
        cwd=searched.folder, env=searched.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["predictions"]
    (said,) = json.loads(searched.command("predict", "photos", "--json").out)
    assert row["picture"] == said["picture"] == "photos/a.png"
    for one in said["answers"]:
        assert row["probabilities"][one["class"]] == pytest.approx(one["probability"], abs=0.01)
