"""The choice of a backend, and what a user's keras.json must not change."""

import json
import os

import keras
import pytest

from kgenre.engines.backend import BackendError, check_backend, prepare_keras

BACKEND = keras.backend.backend()

SCRIPT = """
import json
import kgenre, keras
from boring import BoringModule, boring_batches, quiet_trainer
module = BoringModule()
trainer = quiet_trainer()
trainer.fit(module, boring_batches())
kernel = trainer.engine.state_dict()["model.layers.0.kernel"]
print(json.dumps({
    "floatx": keras.config.floatx(), "format": keras.config.image_data_format(), "epsilon": keras.config.epsilon(),
    "policy": keras.config.dtype_policy().name, "dtype": str(kernel.dtype), "kernel": kernel.tolist(),
    "optimizer": keras.optimizers.Adam().epsilon,
}))
"""


@pytest.mark.one_backend("jax")
def test_keras_json_changes_nothing(tmp_path, run_python, capsys):
    exec(SCRIPT, {})
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    odd = {"backend": BACKEND, "floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(odd))
    assert json.loads(run_python(SCRIPT, backend=BACKEND, KERAS_HOME=str(tmp_path)).splitlines()[-1]) == plain
    assert plain["policy"] == plain["floatx"] == plain["dtype"] == "float32"
    assert plain["format"] == "channels_last"


@pytest.mark.parametrize(
    "first_use",
    [
        "kgenre.Trainer(max_epochs=1); kgenre.Module()",
        "from kgenre.models import poster_cnn_2024",
        "import kgenre.data.tensorflow",  # the first batch of films
    ],
)
def test_unknown_backend_error_is_one_line(run_python, first_use):
    """Whatever needs Keras first calls `prepare_keras`, which also guards the import in a notebook."""
    script = f"""
import kgenre
try:
    {first_use}
except Exception as error:
    print(type(error).__name__, error)
"""
    message = run_python(script, backend="theano").strip()
    assert message == "BackendError KERAS_BACKEND=theano: kgenre runs on tensorflow, jax, torch. Set one of these."


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_backend_that_is_not_installed(monkeypatch, backend):
    monkeypatch.setattr("kgenre.engines.backend._configured_backend", lambda: backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == other else None)
    other = {"jax": "tensorflow"}.get(backend, "jax")
    package = {"torch": "'kgenre\\[torch\\]'"}.get(backend, backend)
    with pytest.raises(
        BackendError,
        match=f"^KERAS_BACKEND={backend}, .* `pip install {package}` or set KERAS_BACKEND={other}, which is",
    ):
        check_backend()


def test_keras_backend_set_too_late_warns_once(monkeypatch, caplog):
    other = "jax" if BACKEND == "tensorflow" else "tensorflow"
    monkeypatch.setattr("kgenre.engines.backend._said", set())
    for name in (BACKEND, other, other):
        monkeypatch.setenv("KERAS_BACKEND", name)
        prepare_keras()
    (said,) = caplog.messages
    assert said.startswith(
        f"KERAS_BACKEND is {other} now, but Keras was imported with {BACKEND} and cannot switch. Restart"
    )


FORK = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from kgenre.engines.backend import BackendError
from boring import BoringModule, boring_batches, quiet_trainer

def fit():
    quiet_trainer().fit(BoringModule(), boring_batches(1))

fit()
with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as fork:
    try:
        fork.submit(fit).result(30)
    except BackendError as error:
        print(error)
    except TimeoutError:
        next(iter(fork._processes.values())).kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork") or BACKEND == "torch", reason="no fork, or one that can run steps")
def test_fit_in_a_fork_of_a_process_that_has_fitted_is_refused(in_tmp_path, run_python):
    printed = run_python(FORK, backend=BACKEND)
    assert f"forked from one that has already used {BACKEND}" in printed
    assert "get_context('spawn')" in printed
