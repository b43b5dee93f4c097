"""What a command does before and while it imports its backend."""

import contextlib
import os
import signal
from types import SimpleNamespace

import pytest

from kgenre.cli.quiet_backend import import_backend, set_environment
from kgenre.engines.backend import BackendError

pytestmark = pytest.mark.backend_free

CACHE = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """A home of its own, and nothing said about where compiled steps are kept."""
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "jax")
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    for name in (CACHE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_what_jax_compiled_is_there_for_the_next_run(run_python, clean, tmp_path):
    script = """
from kgenre.cli.quiet_backend import import_backend
import_backend(data=False)
import jax, os, pathlib, warnings
step = jax.jit(lambda x: 3 * x)
print(step(1.0), os.environ["JAX_COMPILATION_CACHE_DIR"])
for file in pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).iterdir():
    file.write_bytes(file.read_bytes()[:10])  # as where another run is just writing it
jax.clear_caches()
warnings.simplefilter("error", append=True)
print(step(1.0))
"""
    said = run_python(script, backend="jax").split()
    assert (said[0], said[2]) == ("3.0", "3.0")
    assert os.listdir(said[1])
    assert said[1].startswith(str(tmp_path / "cache"))


@pytest.mark.parametrize("error", [None, ImportError])
def test_an_interrupt_that_an_import_swallows_still_ends_the_command(clean, monkeypatch, error):
    def import_it(name):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if error:
            raise error

    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=import_it))
    with pytest.raises(KeyboardInterrupt):
        import_backend(data=False)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_error_a_limit_of_memory(clean, monkeypatch):
    def import_it(name):
        raise ImportError("libtensorflow_cc.so.2: failed to map segment from shared object")

    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=import_it))
    with pytest.raises(BackendError, match=r"not enough memory to load libtensorflow_cc.so.2: .*ulimit -v"):
        import_backend(data=False)


def test_what_is_said_of_a_keras_json_is_seen(clean, monkeypatch, capfd):
    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=lambda name: None))
    monkeypatch.setattr("kgenre.engines.prepare_keras", lambda: os.write(2, b"kgenre uses channels_last."))
    import_backend(data=False)
    assert capfd.readouterr().err == "kgenre uses channels_last."


def test_the_users_own_folder_stays(clean, monkeypatch):
    monkeypatch.setenv(CACHE, "mine")
    set_environment()
    assert os.environ[CACHE] == "mine"


def test_another_backend_keeps_nothing(clean, monkeypatch):
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "tensorflow")
    set_environment()
    assert CACHE not in os.environ


def test_a_full_disk_keeps_nothing(clean, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10_000_000))
    set_environment()
    assert CACHE not in os.environ


def test_a_home_that_cannot_be_written(clean, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "file"))
    set_environment()
    assert CACHE not in os.environ


def test_keras_is_imported_without_chatter(run_python, tmp_path):
    (tmp_path / "mine.py").write_text("import keras, tensorflow\nclass Mine(keras.callbacks.Callback): ...")
    script = f"""
import contextlib, os, sys, tempfile
sys.path.insert(0, {str(tmp_path)!r})
from kgenre.cli.main import main
with tempfile.TemporaryFile() as said:
    os.dup2(said.fileno(), 2)
    main(["fit", "--trainer.callbacks+=mine.Mine"])
    said.seek(0)
    print("absl" in said.read().decode())
"""
    environment = {"KGENRE_ALLOW_IMPORT": "mine", "TF_CPP_MIN_LOG_LEVEL": "0"}
    assert run_python(script, backend="tensorflow", **environment).splitlines()[-1] == "False"
