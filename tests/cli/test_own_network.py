"""A user's network, named by its module: every command finds it, and none uses another one instead."""

import json
import sys

import pytest
import yaml

from kgenre.cli.main import main

pytestmark = pytest.mark.one_backend("tensorflow")
FILE = """
import keras
from keras import layers


def my_cnn(genres, image_size, filters=4, rate=0.0):
    poster = keras.Input((*image_size, 3), name="poster")
    x = layers.Conv2D(filters, 3, strides=4, activation="relu")(poster)
    x = layers.Dropout(rate)(layers.Flatten()(x))
    return keras.Model(poster, layers.Dense(genres, activation="sigmoid")(x), name="my_cnn")
"""
NAMED = ["--model.network", "mycnn.my_cnn", "--model.network_args.filters", "8", "--data.overviews", "false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the user's file."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mycnn.py").write_text(FILE)
    return folder


@pytest.fixture
def own(folder, allow_import, monkeypatch):
    """Run the test in that folder, with its file allowed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    allow_import("mycnn")
    return folder


@pytest.fixture
def run(own, fit):
    """A tested run of the network, trained by the first test that needs it."""
    if not (own / "runs").exists():
        words = [*NAMED, "--trainer.name", "own", "--trainer.max_epochs", "1", "--test", "true"]
        assert fit(own / "runs", *words) == 0
    return own / "runs" / "own" / "version_0"


def test_every_command_finds_the_network_of_a_run(run, films, tmp_path, capsys):
    poster = str(next((films / "posters").iterdir()))
    config = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    assert (config["network"], config["network_args"]) == ("mycnn.my_cnn", {"filters": 8})
    before = json.loads((run / "metrics.json").read_text())["test/loss"]
    for words in (
        ["test", "--ckpt_path", run],
        ["validate", "--config", run / "config.yaml"],
        ["predict", "--ckpt_path", run, "--poster", poster],
        ["examples", run, "--n", "1"],
        ["report", run, "--out", tmp_path / "report"],
        ["export", run, tmp_path / "exported", "--format", "keras"],
        ["fuse", run, "--root", tmp_path],
        ["test", "--ckpt_path", tmp_path / "fused" / "version_0"],
    ):
        sys.modules.pop("mycnn", None)  # as in a process of its own
        assert main([str(word) for word in words]) == 0, words
        assert "mycnn" in sys.modules or words[0] == "examples", words
        assert "without explanations" not in capsys.readouterr().err, words
    assert json.loads((run / "metrics.json").read_text())["test/loss"] == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize(
    "command", [["test", "--ckpt_path"], ["fuse"], ["predict", "--poster", "x.jpg", "--ckpt_path"]]
)
def test_a_module_that_is_not_allowed_is_not_imported(run, command, monkeypatch, capsys):
    monkeypatch.delenv("KGENRE_ALLOW_IMPORT")
    sys.modules.pop("mycnn", None)
    assert main([*command, str(run)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "kgenre: mycnn.my_cnn may not be imported. If it is yours, allow it: KGENRE_ALLOW_IMPORT=mycnn"
    assert "mycnn" not in sys.modules


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.network", "mycnn.my_cn"], "mycnn has no function 'my_cn' that builds a Keras model."),
        (["--model.network", "mycnn.nets.my_cnn"], "needs the module 'mycnn.nets'"),
        (["--model.network", "mycnn.layers"], "mycnn has no function 'layers'"),
        (
            [*NAMED, "--model.network_args.size", "8"],
            "my_cnn takes genres, image_size, filters, rate. Received: 'size'",
        ),
        (
            ["--model.network.class_path", "mycnn.my_cnn"],
            "file.function for your own; its arguments are network_args",
        ),
        (["--model.network_args.dropout", "1.5"], "poster_cnn_2024 cannot be built with dropout=1.5: Invalid value"),
        (
            ["--model.network", "overview_lstm", "--model.network_args.dropout", "1.5"],
            "dropout=1.5: dropout and recurrent_dropout must be at least 0 and below 1.",
        ),
        (["--model.dropout", "0.3"], "no argument 'dropout'. Did you mean --model.network_args.dropout?"),
        (["--model.kernel", "3"], "An argument of the network is --model.network_args.kernel."),
        (["--model.class_weight", "balanced"], "mean --model.loss weighted_binary_crossentropy?"),
        (["--optimizer.learning_rate", "0.1"], "The module's own is --model.learning_rate."),
    ],
)
def test_errors_in_the_options_of_a_network(own, fit, tmp_path, capsys, words, said):
    assert fit(tmp_path, *words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("given", "meant"), [("a:b", "a,b"), ("mine.py", "mine"), ("a b", "a,b")])
def test_error_malformed_allow_import(given, meant, monkeypatch, capsys):
    monkeypatch.setenv("KGENRE_ALLOW_IMPORT", given)
    assert main(["predict", "--help"]) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"separated by commas: KGENRE_ALLOW_IMPORT={meant}. Received: {given}\n")


def test_the_help_names_the_networks_and_their_inputs(capsys):
    from kgenre.models import NETWORKS

    assert main(["fit", "--model.help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: kgenre ")
    assert all(f"{name}," in said or f"{name};" in said for name in NETWORKS)
    assert 'keras.Input(..., name="poster")' in said
