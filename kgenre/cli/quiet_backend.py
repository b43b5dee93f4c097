"""Import the backend without the lines that TensorFlow prints on every start, and without compiling all anew."""

from __future__ import annotations

import contextlib
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

_ROOM = 100_000_000  # bytes: on a fuller disk JAX would keep broken files, and go on reading them


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
        contextlib.nullcontext() if extras else _hidden("sklearn", "matplotlib"),
    ):
        importlib.import_module("keras")
        if data:
            # TensorFlow looks for GPUs when it is first used, and says at length that there are none.
            importlib.import_module("kgenre.data.tensorflow").tf.config.list_logical_devices()
    prepare_keras()  # outside, so that what it says of a keras.json is seen


def set_environment() -> None:
    """What a backend reads when it is imported; what the user has set stays."""
    from kgenre.engines.backend import check_backend
    from kgenre.engines.cache_folder import cache_folder

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if check_backend() != "jax" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # To compile is half of what JAX does before the first step: the next run reads it. Where several machines share a
    # home, each has its own.
    folder = cache_folder() / "jax" / platform.node()
    with contextlib.suppress(OSError):  # a home that cannot be written
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < _ROOM:
            return
        # A run beside this one may be writing what this one reads, and then it is compiled here, too.
        warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache entry")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the block, though a library that is being imported may catch everything.

    Raises:
        BackendError: a library did not fit into the memory that this process may have.
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
        if came:  # an import that was broken off
            raise KeyboardInterrupt from None
        if isinstance(error, ImportError) and "failed to map segment" in str(error):
            library = str(error).partition(":")[0]
            raise BackendError(
                f"There is not enough memory to load {library}: give this process some gigabytes more (ulimit -v, or "
                "the limit of its job)."
            ) from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """As if these were not installed, to what is imported in the block."""
    hidden: dict[str, Any] = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(hidden)  # None: its import fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
