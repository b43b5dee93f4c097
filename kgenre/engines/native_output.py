"""What libraries of C++ print when they are imported, which is of no use to anybody."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO


def _hidden_file() -> IO[bytes]:
    """A file without a name; one that keeps nothing where no folder for temporary files can be written."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Keep what libraries write to standard error to ourselves, unless an error leaves the block."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # no standard error at all
        yield
        return
    with _hidden_file() as hidden:
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
            os.close(kept)
