"""Import the backend without the lines that TensorFlow prints on every start."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_backend(data: bool = True) -> None:
    """Import Keras on its backend, and what the data need; native output is shown only where an import fails."""
    from kgenre.engines import prepare_keras

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_native_output():
        prepare_keras()
        if data:
            # TensorFlow looks for GPUs when it is first used, and says at length that there are none.
            importlib.import_module("kgenre.data.tensorflow").tf.config.list_logical_devices()


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Keep what libraries write to standard error to ourselves, unless an error leaves the block."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            hidden.seek(0)
            os.write(2, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
