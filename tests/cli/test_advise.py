"""``kgenre fit --advise``: its measurements, and the command that it recommends."""

import json
import subprocess

import pytest

from kgenre.cli import advise
from kgenre.cli.main import main

pytestmark = pytest.mark.one_backend("tensorflow")
SMALL = ["--data.batch_size", "8", "--data.image_size", "[16, 16]", "--model.network", "poster_colours"]


def test_measuring_prints_step_times_and_leaves_no_run(sample, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["--data.path", str(sample), *SMALL, "--trainer.precision=bf16-mixed"]
    assert advise.main(words) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["device"], answer["devices"]) == ("cpu", 1)
    times = answer["seconds"]
    assert times
    assert all("bf16-mixed" in way and seconds > 0 for way, seconds in times.items())
    assert not list(tmp_path.glob("runs"))


@pytest.fixture
def measured(monkeypatch):
    """Replace the subprocesses: returns the arguments of each, and the step times that a test sets.

    The times are {(backend, precision, devices): {variant: seconds}}; without an entry the subprocess fails.
    """
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "jax")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    asked, times = [], {}

    def answer(command, env, **_):
        words = command[command.index("kgenre.cli.advise") + 1 :]
        asked.append(words)
        given = dict(word.partition("=")[::2] for word in words if "=" in word)
        devices = int(given.get("--trainer.devices", 1))
        seconds = times.get((env["KERAS_BACKEND"], given["--trainer.precision"], devices))
        place = {"device": "cpu", "devices": devices, "lacks_bfloat16": False} | times.get("place", {})
        line = json.dumps(place | {"seconds": seconds})
        return subprocess.CompletedProcess(command, int(seconds is None), line, "no such way")

    monkeypatch.setattr("subprocess.run", answer)
    return asked, times


def test_the_fastest_setting_is_printed_as_a_command(measured, capsys):
    asked, times = measured
    times |= {
        ("jax", "32-true", 1): {"jax 1, 32-true": 0.25},
        ("jax", "bf16-mixed", 1): {"jax 1, bf16-mixed": 0.3},
        ("tensorflow", "32-true", 1): {"tensorflow 1, 32-true": 0.13, "tensorflow 1, 32-true, XLA": 0.9},
        ("tensorflow", "bf16-mixed", 1): {"tensorflow 1, bf16-mixed": 0.05},
    }
    assert main(["fit", "--advise", *SMALL]) == 0
    printed = capsys.readouterr()
    assert [words[: len(SMALL)] for words in asked] == [SMALL] * 5
    line = "5.0 times as fast: KERAS_BACKEND=tensorflow kgenre fit ... --trainer.precision bf16-mixed"
    assert printed.out.splitlines()[-1] == line
    places = [printed.out.index(f" {milliseconds} ") for milliseconds in (50, 130, 250, 300, 900)]
    assert places == sorted(places)
    assert "0.28" in printed.out
    assert "jax, 32-true, 4 devices cannot be measured: no such way" in printed.err


def test_the_config_may_be_a_pipe(measured, piped):
    """The subprocesses could not read it again."""
    asked, times = measured
    times[("jax", "32-true", 1)] = {"jax 1, 32-true": 0.25}
    config = "trainer: {max_epochs: 7}"
    assert main(["fit", "--advise", "--config", piped(config)]) == 0
    assert all(words[:2] == ["--config", config] for words in asked)


def test_several_devices_on_one_cpu_are_measured(measured, capsys):
    asked, times = measured
    times |= {
        ("jax", "32-true", 1): {"jax 1, 32-true": 0.25},
        ("jax", "bf16-mixed", 1): {"jax 1, bf16-mixed": 0.2},
        ("jax", "bf16-mixed", 4): {"jax 1, bf16-mixed, 4 devices": 0.1},
    }
    assert main(["fit", "--advise"]) == 0
    line = "2.5 times as fast: kgenre fit ... --trainer.precision bf16-mixed --trainer.devices 4"
    assert capsys.readouterr().out.splitlines()[-1] == line
    asked.clear()
    times |= {("jax", "32-true", 4): {"jax 1, 32-true, 4 devices": 0.2}}
    times.pop(("jax", "bf16-mixed", 4))
    assert main(["fit", "--advise", "--trainer.devices=4"]) == 0  # the user's own choice
    assert capsys.readouterr().out.splitlines()[-1] == "No setting here is clearly faster than this configuration."
    assert len(asked) == 4


def test_float16_is_measured_on_a_gpu_without_bfloat16(measured, capsys):
    _, times = measured
    times |= {
        "place": {"device": "gpu", "lacks_bfloat16": True},
        ("jax", "32-true", 1): {"jax 1, 32-true": 0.25},
        ("jax", "bf16-mixed", 1): {"jax 1, bf16-mixed": 0.5},
        ("jax", "16-mixed", 1): {"jax 1, 16-mixed": 0.1},
    }
    assert main(["fit", "--advise"]) == 0
    line = "2.5 times as fast: kgenre fit ... --trainer.precision 16-mixed"
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_nothing_is_clearly_faster(measured, capsys):
    _, times = measured
    times |= {("jax", "32-true", 1): {"a": 0.25}, ("tensorflow", "32-true", 1): {"b": 0.21}}
    assert main(["fit", "--advise"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "No setting here is clearly faster than this configuration."
    times |= {("tensorflow", "32-true", 1): {"b": 0.1}}
    assert main(["fit", "--advise"]) == 0
    line = "2.5 times as fast: KERAS_BACKEND=tensorflow kgenre fit ..."
    assert capsys.readouterr().out.splitlines()[-1] == line, "the precision is the configuration's"


def test_a_configuration_that_fails_is_measured_only_once(measured, capsys):
    asked, _ = measured
    assert main(["fit", "--advise"]) == 1
    assert main(["fit", "--advise", "--trainer.precision=bf16-true"]) == 1
    assert [words[-1] for words in asked] == ["--trainer.precision=32-true", "--trainer.precision=bf16-true"]
