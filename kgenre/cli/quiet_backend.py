"""Imports the backend without the lines that TensorFlow prints on every start, and with JAX's compilation cache."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import platform
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from kgenre.engines.backend import BackendError
from kgenre.engines.native_output import without_native_output

_ROOM = 100_000_000  # bytes; with less free space JAX could leave broken files in its cache, and keep reading them


def import_backend(data: bool = True, extras: bool = True) -> None:
    """Import Keras on its backend, and what the data need; native output is shown only where an import fails.

    Without ``extras`` Keras is imported without scikit-learn and matplotlib, which it loads for its wrappers and plots
    where they are installed: half of its time. For commands that run no code of the user's.
    """
    from kgenre.engines import prepare_keras

    set_environment()
    with (
        _interruptible(),
        without_native_output(),
        _uncollected(),
        contextlib.nullcontext() if extras else _hidden("sklearn", "matplotlib"),
    ):
        importlib.import_module("keras")
        if data:
            # TensorFlow looks for GPUs on first use, and reports at length that there are none: do it in this block.
            importlib.import_module("kgenre.data.tensorflow").tf.config.list_logical_devices()
    prepare_keras()  # outside the block, to show its warnings about a user's keras.json


def set_environment() -> None:
    """Set the environment variables that a backend reads on import, except those that the user has set."""
    from kgenre.engines.backend import check_backend
    from kgenre.engines.cache_folder import cache_folder

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if check_backend() != "jax" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # Half of JAX's time before the first step is compilation: cache it for the next run, for each machine separately as
    # they may share a home.
    folder = cache_folder() / "jax" / platform.node()
    with contextlib.suppress(OSError):  # a read-only home
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _ROOM:
            return
        # A concurrent run may be writing the entry that this one reads: it is then compiled here, too.
        warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache entry")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the block, even if a library that is being imported catches the exception.

    Raises:
        BackendError: a library did not fit into this process's memory limit.
    """
    came: list[int] = []

    def receive(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, receive)
    try:
        yield
    except Exception as error:
        if came:  # Ctrl-C surfaced as another error
            raise KeyboardInterrupt from None
        if isinstance(error, ImportError) and "failed to map segment" in str(error):
            library = str(error).partition(":")[0]
            raise BackendError(
                f"There is not enough memory to load {library}: allow this process a few more gigabytes (ulimit -v, "
                "or its job's limit)."
            ) from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's garbage collector from what is imported in the block: it finds next to nothing there.

    It would take a quarter of the time of the import, and later stop the training for a third of a second at a time.
    Where all is imported already, nothing is kept from it: garbage of earlier fits in this process would stay.
    """
    was_enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Make these packages look uninstalled to the imports in the block."""
    hidden: dict[str, Any] = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(hidden)  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
