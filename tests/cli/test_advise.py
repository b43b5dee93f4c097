"""``kgenre fit --advise``: a table, and what to type."""

import json

import pytest

from kgenre.cli import advise
from kgenre.cli.main import main

SMALL = ["--data.batch_size", "8", "--data.image_size", "[16, 16]", "--model.network", "poster_cnn_2025"]


def test_measuring_one_way(sample, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["--data.path", str(sample), *SMALL, "--trainer.precision=bf16-mixed"]
    assert advise.main(words) == 0
    times = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert times
    assert all("bf16-mixed" in way and seconds > 0 for way, seconds in times.items())
    assert not list(tmp_path.glob("runs"))


@pytest.fixture
def measured(monkeypatch):
    """Stands for the processes: {(backend, precision): {way: seconds}}; returns the words that each was given."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "jax")
    asked, times = [], {}

    def answer(arguments, backend, precision):
        asked.append(arguments)
        return times.get((backend, precision), {})

    monkeypatch.setattr(advise, "_measured", answer)
    return asked, times


def test_what_is_faster_is_said_as_it_is_typed(measured, capsys):
    asked, times = measured
    times |= {
        ("jax", "32-true"): {"jax 1, 32-true": 0.25},
        ("jax", "bf16-mixed"): {"jax 1, bf16-mixed": 0.3},
        ("tensorflow", "32-true"): {"tensorflow 1, 32-true": 0.13, "tensorflow 1, 32-true, XLA": 0.9},
        ("tensorflow", "bf16-mixed"): {"tensorflow 1, bf16-mixed": 0.05},
    }
    assert main(["fit", "--advise", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert asked == [SMALL] * 4
    line = "5.0 times as fast: KERAS_BACKEND=tensorflow kgenre fit ... --trainer.precision bf16-mixed"
    assert printed.splitlines()[-1] == line
    assert [word in printed for word in ("250", "130", "900", "0.28")] == [True] * 4


def test_nothing_is_clearly_faster(measured, capsys):
    _, times = measured
    times |= {("jax", "32-true"): {"a": 0.25}, ("tensorflow", "32-true"): {"b": 0.21}}
    assert main(["fit", "--advise"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing here is clearly faster than this configuration."


def test_a_configuration_that_cannot_run(measured, capsys):
    assert main(["fit", "--advise"]) == 1
