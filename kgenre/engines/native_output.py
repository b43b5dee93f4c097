"""What libraries of C++ print when they are imported, which is of no use to anybody."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_native_output() -> Iterator[None]:
    """Keep what libraries write to standard error to ourselves, unless an error leaves the block."""
    with contextlib.ExitStack() as opened:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            kept = os.dup(2)
            opened.callback(os.close, kept)
            hidden = opened.enter_context(tempfile.TemporaryFile())
        except (OSError, ValueError):  # no standard error at all, or nowhere to keep it
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
    """The same where a notebook would show it in a cell; a script has what its libraries say, should they crash."""
    return without_native_output() if "ipykernel" in sys.modules else contextlib.nullcontext()
