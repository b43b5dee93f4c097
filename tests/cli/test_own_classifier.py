"""A user's subclass of GenreClassifier: every command uses what it overrides, or reports why it cannot."""

import csv
import json
import re
import sys

import numpy as np
import pytest

from kgenre.checkpoints import find_checkpoint, read_checkpoint, write_checkpoint
from kgenre.cli.main import main

pytestmark = pytest.mark.one_backend("tensorflow")
FILE = """
import keras
from kgenre.models import GenreClassifier


def tiny(genres, image_size):
    poster = keras.Input((*image_size, 3), name="poster")
    seen = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(poster))
    return keras.Model(poster, keras.layers.Dense(genres, activation="sigmoid")(seen))


class Squared(GenreClassifier):
    def __init__(self, power: float = 2.0, **options):
        super().__init__(**options)
        self.save_hyperparameters()
        self.power = power

    def probabilities(self, batch, training=False, mirror=None):
        return super().probabilities(batch, training, mirror) ** self.power

    def validation_step(self, batch, batch_idx):
        outputs = super().validation_step(batch, batch_idx)
        self.log("val/mine", keras.ops.mean(outputs["probabilities"]))
        return outputs


class Fixed(GenreClassifier):
    def __init__(self, power: float = 2.0, **options):
        super().__init__("ownclass.tiny", **options)
        self.power = power

    def probabilities(self, batch, training=False, mirror=None):
        return super().probabilities(batch, training, mirror) ** self.power
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    (folder / "ownclass.py").write_text(FILE)
    return folder


@pytest.fixture
def run(folder, fit, allow_import, monkeypatch):
    """A tested run of the subclass, trained by the first test; each test runs in its folder, with its file allowed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    allow_import("ownclass")
    if not (folder / "runs").exists():
        words = ["--model", "ownclass.Squared", "--model.network", "ownclass.tiny", "--data.overviews", "false"]
        words += ["--trainer.name", "own", "--trainer.max_epochs", "1"]
        assert fit(folder / "runs", *words) == 0
        before = json.loads((folder / "runs/own/version_0/metrics.json").read_text())["val/mine"]
        assert main(["test", "--ckpt_path", "runs/own/version_0"]) == 0
        # Testing must not replace what the subclass logged for the validation films.
        assert json.loads((folder / "runs/own/version_0/metrics.json").read_text())["val/mine"] == before
    return folder / "runs/own/version_0"


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_commands_create_a_subclass_that_saves_no_arguments_as_it_was_trained(run, fit):
    words = ["--model", "ownclass.Fixed", "--model.power", "3", "--data.overviews", "false", "--test", "true"]
    words += ["--trainer.name", "fixed", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert fit(run.parents[1], *words) == 0
    metrics = run.parents[1] / "fixed" / "version_0" / "metrics.json"
    tested = json.loads(metrics.read_text())["test/loss"]
    assert main(["test", "--ckpt_path", str(metrics.parent)]) == 0
    assert json.loads(metrics.read_text())["test/loss"] == pytest.approx(tested)


def test_predict_and_export_use_the_subclass(run, films, tmp_path, capsys):
    tested = rows(run / "predictions_test.csv")
    assert main(["predict", "--ckpt_path", str(run), "--data.path", str(films)]) == 0
    film, expected = next(iter(tested.items()))
    said = rows(run / "predictions.csv")[film]
    assert float(said["Drama"]) == pytest.approx(float(expected["Drama"]), abs=1e-5)

    from kgenre.data import FilmData
    from kgenre.models.export import export_classifier

    exported = export_classifier(run, tmp_path / "exported", format="keras")
    import keras

    batch = FilmData.load_from_checkpoint(run).encode(posters=[films / "posters" / f"{film}.jpg"])
    given = keras.models.load_model(exported / "model.keras")({"poster": batch["poster"]})
    given = keras.ops.convert_to_numpy(given)[0]
    genres = json.loads((exported / "classifier.json").read_text())["genres"]
    np.testing.assert_allclose(given, [float(expected[genre]) for genre in genres], atol=1e-4)

    assert main(["fuse", str(run), "--root", str(tmp_path)]) == 1
    assert "Squared, which overrides probabilities" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "code"), [(["test", "--ckpt_path"], 2), (["predict", "--poster", "x.jpg", "--ckpt_path"], 1)]
)
def test_error_the_class_is_not_allowed_or_missing(run, command, code, tmp_path, monkeypatch, capsys):
    def said():
        sys.modules.pop("ownclass", None)
        assert main([*command, str(run)]) == code
        return " ".join(capsys.readouterr().err.splitlines())

    monkeypatch.delenv("KGENRE_ALLOW_IMPORT")
    assert "ownclass.Squared may not be imported. If it is yours, allow it: KGENRE_ALLOW_IMPORT=ownclass" in said()
    assert "ownclass" not in sys.modules
    monkeypatch.setenv("KGENRE_ALLOW_IMPORT", "ownclass")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(run.parents[2])])
    assert "o module " in said()
    (tmp_path / "ownclass.py").write_text("")
    sys.path_importer_cache.clear()
    assert re.search("there is no ownclass.Squared|class ownclass.Squared does not exist here", said())
    (tmp_path / "ownclass.py").write_text("a = 1 / 0")
    text = said()
    assert re.search("(--model|Error): (.* )?division by zero", text)
    assert "Parser key" not in text
    if "predict" in command:  # the others let the command line check the class
        (tmp_path / "ownclass.py").write_text("class Squared:\n    pass\n")
        assert "The run's class ownclass.Squared is not a GenreClassifier." in said()


def test_error_the_class_was_defined_in_a_notebook(run, tmp_path, capsys):
    kept = read_checkpoint(find_checkpoint(run))
    kept.state["model"]["class_path"] = "__main__.Squared"
    path = write_checkpoint(kept, tmp_path / "step=000001")
    for command in (["test", "--ckpt_path"], ["predict", "--poster", "x.jpg", "--ckpt_path"]):
        assert main([*command, str(path)]) in (1, 2)
        assert "class __main__.Squared does not exist here" in capsys.readouterr().err.splitlines()[-1]
