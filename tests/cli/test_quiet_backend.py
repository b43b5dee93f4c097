"""How a command prepares and imports its backend."""

import contextlib
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from kgenre.cli.quiet_backend import import_backend, set_environment
from kgenre.engines.backend import BackendError

pytestmark = pytest.mark.backend_free

CACHE = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """Under JAX: an empty cache folder, and no variables that configure JAX's compilation cache."""
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "jax")
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    for name in (CACHE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it
        monkeypatch.delenv(name)


def test_jax_programs_are_cached_and_damaged_ones_ignored(run_python, clean, tmp_path):
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
def test_an_interrupt_swallowed_by_an_import_ends_the_command(clean, monkeypatch, error):
    def import_it(name):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if error:
            raise error

    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=import_it))
    with pytest.raises(KeyboardInterrupt):
        import_backend(data=False)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_error_too_little_memory_to_load_the_backend(clean, monkeypatch):
    def import_it(name):
        raise ImportError("libtensorflow_cc.so.2: failed to map segment from shared object")

    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=import_it))
    with pytest.raises(BackendError, match=r"not enough memory to load libtensorflow_cc.so.2: .*ulimit -v"):
        import_backend(data=False)


@pytest.mark.parametrize("extras", [True, False])
def test_users_code_can_use_the_extras_of_keras(clean, monkeypatch, extras):
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    hidden = []
    look = SimpleNamespace(import_module=lambda name: hidden.append("sklearn" in sys.modules))
    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", look)
    monkeypatch.setattr("kgenre.engines.prepare_keras", lambda: None)
    import_backend(data=False, extras=extras)
    assert (hidden, "sklearn" in sys.modules) == ([not extras], False)


def test_messages_about_keras_json_are_shown(clean, monkeypatch, capfd):
    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=lambda name: None))
    monkeypatch.setattr("kgenre.engines.prepare_keras", lambda: os.write(2, b"kgenre uses channels_last."))
    import_backend(data=False)
    assert capfd.readouterr().err == "kgenre uses channels_last."


def test_another_handler_of_ctrl_c_stays(clean, monkeypatch):
    monkeypatch.setattr("kgenre.cli.quiet_backend.importlib", SimpleNamespace(import_module=lambda name: None))
    monkeypatch.setattr("kgenre.engines.prepare_keras", lambda: None)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import_backend(data=False)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_users_own_cache_folder_is_kept(clean, monkeypatch):
    monkeypatch.setenv(CACHE, "mine")
    set_environment()
    assert os.environ[CACHE] == "mine"


def test_no_cache_under_another_backend(clean, monkeypatch):
    monkeypatch.setattr("kgenre.engines.backend.check_backend", lambda: "tensorflow")
    set_environment()
    assert CACHE not in os.environ


def test_no_cache_on_a_full_disk(clean, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10_000_000))
    set_environment()
    assert CACHE not in os.environ


def test_no_cache_where_no_folder_can_be_created(clean, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "file"))
    set_environment()
    assert CACHE not in os.environ


@pytest.mark.parametrize(("callback", "allowed"), [("mine.Mine", "mine"), ("KerasCallback", "")])
def test_keras_is_imported_without_messages_of_absl(run_python, tmp_path, callback, allowed):
    (tmp_path / "mine.py").write_text("import keras, tensorflow\nclass Mine(keras.callbacks.Callback): ...")
    script = f"""
import contextlib, os, sys, tempfile
sys.path.insert(0, {str(tmp_path)!r})
from kgenre.cli.main import main
with tempfile.TemporaryFile() as said:
    os.dup2(said.fileno(), 2)
    main(["fit", "--trainer.callbacks+={callback}"])
    said.seek(0)
    print("absl" in said.read().decode())
"""
    environment = {"KGENRE_ALLOW_IMPORT": allowed, "TF_CPP_MIN_LOG_LEVEL": "0"}
    assert run_python(script, backend="tensorflow", **environment).splitlines()[-1] == "False"


def test_what_is_imported_is_not_looked_at_by_the_garbage_collector(run_python):
    script = """
import gc
from kgenre.cli.quiet_backend import import_backend
import_backend(data=False)
print(gc.isenabled(), gc.get_freeze_count() > 20 * len(gc.get_objects()))
frozen = gc.get_freeze_count()
import_backend(data=False)  # of another command in this process
print(gc.get_freeze_count() == frozen)
"""
    assert run_python(script, backend="jax").split() == ["True", "True", "True"]
