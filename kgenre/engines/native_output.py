"""Hides what C++ libraries print to standard error when they are imported, and guards imports in a notebook."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Hide what is written to standard error, by C++ code too; if the block raises an error, print it after all."""
    with contextlib.ExitStack() as opened:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            kept = os.dup(2)
            opened.callback(os.close, kept)
            hidden = opened.enter_context(tempfile.TemporaryFile())
        except (OSError, ValueError):  # no standard error, or no room for a temporary file
            hidden = None
        if hidden is None:
            yield
            return
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            hidden.seek(0)
            os.write(2, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)


@contextlib.contextmanager
def importing_in_notebook() -> Iterator[None]:
    """In a notebook, hide what an import prints and let the stop button wait for its end; elsewhere change nothing.

    TensorFlow, imported here, stays quiet later too: on a CPU a fit's cell would show, in red, that CUDA could not be
    initialised. An import that was interrupted cannot be repeated: all later fits of the kernel would fail. A script
    that is stopped ends, and shows the output, in case a library crashes.
    """
    if "ipykernel" not in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _interrupted_at_the_end(), without_native_output():
        yield


@contextlib.contextmanager
def _interrupted_at_the_end() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
