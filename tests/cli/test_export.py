"""``kgenre export`` from the command line."""

import json
import os
import sys

import keras
import pytest

from kgenre.cli.main import main


@pytest.mark.one_backend("jax")
def test_the_exported_program_predicts_the_same(poster_run, films, tmp_path, capsys, run_python):
    folder = tmp_path / "exported model"
    assert main(["export", str(poster_run), str(folder), "--format", "keras"]) == 0
    said = capsys.readouterr().out
    assert "classifier.json, classify.py, model.keras" in said
    assert f'Try it: python "{folder / "classify.py"}" --help' in said
    assert not json.loads((folder / "classifier.json").read_text())["one_is_enough"]
    poster = str(next((films / "posters").iterdir()))
    assert main(["predict", "--ckpt_path", str(poster_run), "--poster", poster, "--top", "2", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["genres"]
    # In a new process, which has not imported kgenre's layers.
    program, given = str(folder / "classify.py"), ["", "--poster", poster, "--top", "2"]
    code = f"import runpy, sys; sys.argv = {given!r}; runpy.run_path({program!r}, run_name='__main__')"
    printed = [line.removesuffix("predicted").split() for line in run_python(code).splitlines()]
    assert [name for name, _ in printed] == [film["genre"] for film in expected]
    assert [float(value) for _, value in printed] == pytest.approx([film["probability"] for film in expected], abs=5e-3)


@pytest.mark.parametrize(
    ("written", "backend"), [("saved_model", "tensorflow"), ("onnx", "tensorflow"), ("keras", "jax")]
)
def test_tensorflow_writes_its_own_formats(written, backend, tmp_path, monkeypatch):
    monkeypatch.setattr("kgenre.models.export.export_classifier", lambda *arguments: tmp_path)
    monkeypatch.setattr("kgenre.cli.quiet_backend.import_backend", lambda **kinds: None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(sys.modules, "keras")  # as when the command starts
    assert main(["export", "run", "folder", "--format", written]) == 0
    assert os.environ["KERAS_BACKEND"] == backend


def test_errors_are_one_line(poster_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.setitem(sys.modules, "tf2onnx", None)

    def said(run, folder, format):
        assert main(["export", str(run), str(folder), "--format", format]) == 1
        [line] = capsys.readouterr().err.splitlines()
        return line

    assert "already exists. Name a new folder." in said(poster_run, tmp_path, "keras")
    assert "is neither a checkpoint nor a run" in said(tmp_path, tmp_path / "new", "keras")
    assert "is a file" in said(poster_run, poster_run / "config.yaml" / "exported", "keras")
    on_tensorflow = keras.backend.backend() == "tensorflow"
    missing = "pip install" if on_tensorflow else "set KERAS_BACKEND=tensorflow"
    assert missing in said(poster_run, tmp_path / "new", "onnx")
    assert not list(tmp_path.iterdir())
    # Another export has made the folder since.
    (made := tmp_path / "made").mkdir()
    (made / "classifier.json").write_text("{}")
    monkeypatch.setattr("kgenre.models.export._check", lambda folder, format: None)
    assert f"Directory not empty: '{made}'" in said(poster_run, made, "keras")
    assert os.listdir(tmp_path) == ["made"]
