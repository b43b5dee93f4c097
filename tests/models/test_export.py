"""An exported classifier predicts what the run's model predicts, without kgenre."""

import errno
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from PIL import Image

import kgenre.models.export
from kgenre import Trainer
from kgenre.checkpoints import write_checkpoint
from kgenre.data import FilmData, read_poster
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.text_words import STANDARDIZE, WORD_SPLIT, TextWords
from kgenre.evaluation.thresholds import Thresholds
from kgenre.kernels import keras_only
from kgenre.models import GenreClassifier, classify
from kgenre.models.bidirectional import Bidirectional
from kgenre.models.export import export_classifier

numpy = keras.ops.convert_to_numpy
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras on TensorFlow writes these")


def tiny(genres: int = 25, vocabulary_size: int = 100) -> keras.Model:
    """A poster branch and a masked LSTM, with a few weights each."""
    poster = keras.Input((16, 16, 3), name="poster")
    overview = keras.Input((None,), dtype="int32", name="overview")
    words = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(overview)
    read = Bidirectional(keras.layers.LSTM(3))(words)
    seen = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(poster))
    classify_both = keras.layers.Dense(genres, activation="sigmoid")
    return keras.Model([poster, overview], classify_both(keras.layers.Concatenate()([read, seen])), name="tiny")


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    """(checkpoint, module, data) of a network trained for two steps."""
    kgenre.seed_everything(0)
    films = FilmData(str(sample), image_size=(16, 16), batch_size=16, vocabulary_size=100, incomplete="keep")
    module = GenreClassifier(tiny, learning_rate=0.01, mirror=True)
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(
        max_steps=2,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=films)
    count = len(films.genre_names)
    module.thresholds = Thresholds(0.3, tuple(np.linspace(0.2, 0.4, count)))
    return write_checkpoint(trainer.dump_checkpoint(), folder / "checkpoints" / "step=000002"), module, films


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """The folder of the network exported as a SavedModel."""
    return export_classifier(run[0], tmp_path_factory.mktemp("served") / "exported", network=tiny)


def batch_of(films):
    batch = next(iter(films.val_dataloader()))
    return {name: np.asarray(batch[name])[:5] for name in ("poster", "overview")}


def check(folder, module, films):
    batch = batch_of(films)
    ours = numpy(module.probabilities(batch))
    assert np.ptp(ours, axis=0).max() > 0.01, "all films alike: nothing is shown"
    np.testing.assert_allclose(classify.load(folder)(batch), ours, rtol=1e-4, atol=1e-6)


@on_tensorflow
def test_a_saved_model_gives_the_same_probabilities(run, served):
    check(served, *run[1:])


@on_tensorflow
def test_a_file_for_onnx_runtime_gives_the_same_probabilities(run, tmp_path):
    pytest.importorskip("tf2onnx", reason="the extra kgenre[onnx] is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    check(export_classifier(run[0], tmp_path / "exported", "onnx", network=tiny), *run[1:])


def test_a_keras_file_gives_the_same_probabilities(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    check(export_classifier(run[0], "~/below/exported", "keras", network=tiny), *run[1:])
    assert (tmp_path / "below" / "exported" / "model.keras").exists()


@on_tensorflow
def test_script_predicts_what_kgenre_predicts(run, served, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(served, tmp_path / "films [2024]")
    _, module, films = run
    poster, overview = str(films.table.poster_paths[0]), films.table.overviews[0]
    for name in list(sys.modules):  # the script must run where kgenre is not installed
        if name.partition(".")[0] == "kgenre":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "argv", ["classify.py", "--poster", poster, "--overview", overview, "--top", "2"])
    runpy.run_path(str(folder / "classify.py"), run_name="__main__")
    monkeypatch.undo()
    prob = numpy(module.probabilities(films.encode([poster], [overview])))[0]
    expected = [(films.genre_names[i], prob[i]) for i in np.argsort(-prob)[:2]]
    printed = [line.removesuffix("predicted").split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in printed] == [name for name, _ in expected]
    np.testing.assert_allclose([float(value) for _, value in printed], [value for _, value in expected], atol=2e-3)


@on_tensorflow
def test_script_accepts_a_film_without_a_poster(served, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(served, tmp_path / "exported")
    monkeypatch.setattr(sys, "argv", ["classify.py", "--overview", "A killer in the city."])
    runpy.run_path(str(folder / "classify.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == 3
    classifier = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(classifier | {"one_is_enough": False}))
    with pytest.raises(SystemExit):
        runpy.run_path(str(folder / "classify.py"), run_name="__main__")
    assert "give --poster" in capsys.readouterr().err
    grain = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(grain).save(tmp_path / "damaged.png")
    before, _, after = (tmp_path / "damaged.png").read_bytes().rpartition(b"IDAT")
    (tmp_path / "damaged.png").write_bytes(before + b"\0\0\0\0" + after)  # Pillow raises a SyntaxError
    no_picture = "not a picture, or damaged"
    for poster, reason in (
        ("none.jpg", "No such file or directory"),
        (folder / "classifier.json", no_picture),
        (tmp_path / "damaged.png", no_picture),
    ):
        monkeypatch.setattr(sys, "argv", ["classify.py", "--poster", str(poster), "--overview", "A killer."])
        with pytest.raises(SystemExit):
            runpy.run_path(str(folder / "classify.py"), run_name="__main__")
        assert f"{poster} cannot be read ({reason})" in capsys.readouterr().err


def test_files_next_to_the_model(run, tmp_path):
    checkpoint, module, films = run
    folder = export_classifier(checkpoint, tmp_path / "exported", "keras", network=tiny)
    classifier = json.loads((folder / "classifier.json").read_text())
    assert classifier["genres"] == list(films.genre_names)
    assert classifier["poster"] == {"height": 16, "width": 16, "resize": "squash"}
    assert classifier["one_is_enough"]
    assert classifier["thresholds"] == list(module.thresholds.per_genre), "some are below a millionth"
    assert (folder / "vocabulary.txt").read_text().split("\n")[:-1] == films.vocabulary


@on_tensorflow
def test_saved_model_does_not_require_xla(served):
    import tensorflow as tf

    graph = tf.saved_model.load(str(served / "saved_model")).signatures["serving_default"].graph
    functions = graph.as_graph_def().library.function
    assert functions
    assert not [function.signature.name for function in functions if "_XlaMustCompile" in function.attr]


def test_keras_only_disables_the_kernels():
    with keras_only(), pytest.raises(NotImplementedError):
        kgenre.kernels.masked_lstm(np.zeros((1, 2, 3), "float32"), None, None, None)


@pytest.mark.parametrize("resize", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(450, 300), (97, 310), (40, 30), (1500, 1000)])
def test_posters_are_read_as_kgenre_reads_them(resize, size, tmp_path):
    grain = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(grain).save(tmp_path / "poster.png", compress_level=0)
    ours = read_poster(tmp_path / "poster.png", (64, 48), resize).astype(int)
    assert np.abs(classify.read_poster(tmp_path / "poster.png", 64, 48, resize) - ours).max() <= 2


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P", "RGB"])
def test_posters_of_any_mode_are_read_as_kgenre_reads_them(mode, tmp_path):
    rising = np.mgrid[:90, :60].sum(axis=0) * 1.7
    picture = Image.fromarray((rising * 257).astype(np.uint16) if mode == "I;16" else rising.astype(np.uint8))
    if mode != "I;16":
        picture = picture.convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(255 - rising.astype(np.uint8)))
    assert picture.mode == mode
    picture.save(tmp_path / "poster.png", **({"transparency": (100, 100, 100)} if mode == "RGB" else {}))
    ours = read_poster(tmp_path / "poster.png", (32, 24)).astype(int)
    assert np.abs(classify.read_poster(tmp_path / "poster.png", 32, 24, "squash") - ours).max() <= 2


@pytest.mark.parametrize("standardize", STANDARDIZE)
@pytest.mark.parametrize("stem", [None, "english"])
@pytest.mark.parametrize("word_split", WORD_SPLIT)
def test_overviews_are_read_as_kgenre_reads_them(standardize, stem, word_split):
    texts = [
        "A ship's crew, sailing; ÉTÉ in the SEAS!",
        "sails of\u2028the crew -- running",
        "",
        "one two three four five six",
        "«ДОМ», ㎏ の宇宙船。กา ကခ",
        "the \udcffcrew's ship",  # from a terminal that is not UTF-8
    ]
    vectorizer = OverviewVectorizer.adapt([*texts[:2], texts[4]], 100, 5, standardize, stem, word_split=word_split)
    ours = vectorizer.encode(texts)
    assert (ours > 1).any()
    found = [classify.token_ids(text, 5, standardize, stem, vectorizer.vocabulary, word_split) for text in texts]
    np.testing.assert_array_equal(found, ours)


def test_unspaced_characters_are_those_of_kgenre():
    def letters(of):
        codes = [*range(0xD800), *range(0xE000, 0x10000), 0x1F52A, 0x1FFFF, 0x20000, 0x3FFFF, 0x40000]
        return [code for code in codes if of(chr(code))]

    alone = TextWords(None, "character")
    assert letters(re.compile(f"[{classify.UNSPACED}]").match) == letters(lambda one: len(alone(f"a{one}b")) == 3)


def test_one_import_registers_all_layers():
    from kgenre.models import layers

    files = Path(layers.__file__).parent.glob("*.py")
    registered = sum(
        file.read_text(encoding="utf-8").count("@keras.saving.register_keras_serializable") for file in files
    )
    assert registered == sum(isinstance(layer, type) for layer in vars(layers).values()) > 10


def test_unusable_arguments_are_refused(run, tmp_path, monkeypatch):
    with pytest.raises(kgenre.TrainerError, match="one of saved_model, onnx, keras"):
        export_classifier(run[0], tmp_path / "exported", "tflite")
    with pytest.raises(kgenre.TrainerError, match="already exists"):
        export_classifier(run[0], tmp_path, "keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(kgenre.TrainerError, match="KERAS_BACKEND=tensorflow"):
        export_classifier(run[0], tmp_path / "exported", "saved_model")


def test_failed_export_leaves_no_files(run, tmp_path, monkeypatch):
    def fail(model, path, format):
        raise OSError(errno.ENOSPC, "disk full", str(path))

    monkeypatch.setattr(kgenre.models.export, "_write_model", fail)
    with pytest.raises(OSError, match="disk full") as raised:
        export_classifier(run[0], tmp_path / "exported", "keras", network=tiny)
    assert raised.value.filename == str(tmp_path / "exported"), "not the temporary folder"
    assert not list(tmp_path.iterdir())


def test_full_disk_is_an_oserror_on_every_backend(tmp_path):
    class Full(Exception):
        """Stands for TensorFlow's errors, which are not OSErrors."""

    model = Mock(inputs=[])
    model.export = Mock(side_effect=Full("another"))
    with pytest.raises(Full, match="another"):
        kgenre.models.export._write_model(model, tmp_path / "saved_model", "saved_model")
    model.export = Mock(side_effect=Full("x; No space left on device"))
    with pytest.raises(OSError, match="No space left on device") as info:
        kgenre.models.export._write_model(model, tmp_path / "saved_model", "saved_model")
    assert (info.value.errno, info.value.filename) == (errno.ENOSPC, str(tmp_path / "saved_model"))


class Own(keras.layers.Layer):
    def call(self, x):
        return x


@pytest.mark.parametrize("layer", [Own, keras.layers.ReLU])
def test_keras_file_with_custom_layers_warns(layer, tmp_path, caplog):
    model = keras.Sequential([keras.Input((2,)), layer()])
    kgenre.models.export._write_model(model, tmp_path / "model.keras", "keras")
    assert ("model.keras contains layers of your own (Own)" in caplog.text) == (layer is Own)
