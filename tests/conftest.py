"""Settings and fixtures for all tests."""

import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Folders whose tests compare numbers with a tolerance, or two runs of the same program: under JAX they compile without
# optimisation, in two thirds of the time. Files in TO_THE_BIT compare two programs bit for bit, compiled as for users.
QUICK = ("benchmarks", "cli", "engines", "kernels", "models", "reports", "training", "tuning")
COMPILED_QUICKLY = [TESTS / room for room in QUICK]
TO_THE_BIT = [TESTS / "cli" / "test_repeat.py", TESTS / "engines" / "test_initial_weights.py"]
TO_THE_BIT += [TESTS / "kernels" / "test_max_pooling.py", TESTS / "training" / "test_accelerator.py"]
TO_THE_BIT += [TESTS / "training" / "test_determinism.py", TESTS / "training" / "test_steps_per_execution.py"]
BACKEND_FREE = "pytestmark = pytest.mark.backend_free\n"
ONE_BACKEND_FILE = re.compile(r'^pytestmark = \[?pytest\.mark\.one_backend\("(\w+)"\)', re.MULTILINE)
# Many tests compile the same small programs: under JAX each is compiled once for all tests and their subprocesses.
_COMPILED = tempfile.TemporaryDirectory(prefix="compiled", ignore_cleanup_errors=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Tests run on all cores in parallel: torch's threads would spend most of their time waiting for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" in os.environ and os.environ.get("KERAS_BACKEND") == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # processes that a test starts use all threads
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # ignored in background jobs of a script; tests send Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(TESTS))  # `import boring` in any folder of tests, whichever import mode pytest runs in


class NoBackend:
    """An import hook that refuses Keras and its backends."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("keras", "tensorflow", "jax", "torch"):
            raise ModuleNotFoundError(f"KERAS_BACKEND=none: a file marked backend_free imports {name}", name=name)


if os.environ.get("KERAS_BACKEND") == "none":
    sys.meta_path.insert(0, NoBackend)


def pytest_addoption(parser):
    parser.addoption("--once", action="store_true", help="leave out what tests/run.sh runs under another backend")


def pytest_ignore_collect(collection_path, config):
    """With ``KERAS_BACKEND=none`` only the files marked `backend_free` run: the others could not even be imported."""
    backend, once = os.environ.get("KERAS_BACKEND", "tensorflow"), config.getoption("--once")
    if not collection_path.match("test_*.py") or not (once or backend == "none"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    if backend == "none" or BACKEND_FREE in text:
        return (BACKEND_FREE in text) != (backend == "none") or None
    only = ONE_BACKEND_FILE.search(text)
    return (only is not None and only[1] != backend) or None


def pytest_collection_modifyitems(config, items):
    if config.getoption("--once"):
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        elsewhere = [item for item in items for mark in item.iter_markers("one_backend") if mark.args != (backend,)]
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    # Freeze the objects of libraries and earlier tests: the garbage collector takes a second for each scan of them.
    gc.collect()
    gc.freeze()
    quickly = item.path not in TO_THE_BIT and any(room in item.path.parents for room in COMPILED_QUICKLY)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quickly))  # for processes that a test starts
    if os.environ.get("KERAS_BACKEND") == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", quickly)


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """Work in an empty folder: runs are written to ./runs there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def run_python():
    """Run a script in a fresh interpreter, where nothing is imported yet; returns what it printed."""

    def run(script, *, backend=None, **environment):
        path = f"{TESTS.parent}{os.pathsep}{TESTS}"  # this checkout, wherever kgenre is installed from
        env = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"} | environment
        if backend is not None:
            env["KERAS_BACKEND"] = backend
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def file_size_limit():
    """A context in which no file can grow beyond so many bytes: to a program, the disk is full."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """A sample set of 120 films; do not write to it."""
    from kgenre.data import make_sample_films

    return make_sample_films(tmp_path_factory.mktemp("sample") / "films", n=120)
