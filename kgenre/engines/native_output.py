"""Hides what C++ libraries print to standard error when they are imported."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
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


def quiet_notebook() -> contextlib.AbstractContextManager[None]:
    """`without_native_output` in a notebook, whose cell would show it; a script shows it, in case a library crashes.

    TensorFlow, if it is imported in the block, also stays quiet later: on a CPU a fit's cell would show, in red, that
    CUDA could not be initialised.
    """
    if "ipykernel" not in sys.modules:
        return contextlib.nullcontext()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return without_native_output()
