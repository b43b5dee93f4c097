"""What kgenre has to say, where the program has not set up logging: a notebook, a script."""

from __future__ import annotations

import contextlib
import logging
import sys


class Messages(logging.Handler):
    """Prints the messages of the logger "kgenre" as they are, unless another handler has them.

    Warnings go to standard error, and so does the rest; but in a notebook, where that is red, to standard output.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, now: the streams of a notebook's cell may be others than those of the import."""
        if logging.getLogger().handlers or logging.getLogger("kgenre").handlers != [self]:
            return
        is_calm = record.levelno < logging.WARNING and "ipykernel" in sys.modules
        with contextlib.suppress(OSError):  # the terminal is gone: that must not break a step off
            print(self.format(record), file=sys.stdout if is_calm else sys.stderr, flush=True)


def show_messages() -> None:
    """Let the logger "kgenre" be heard from INFO on; ``logging.getLogger("kgenre").setLevel("WARNING")`` undoes it.

    Without this, training would stop early and nobody were told why. A program that sets up logging (root handlers, or
    handlers of "kgenre") gets the messages there and only there.
    """
    logger = logging.getLogger("kgenre")
    if not logger.handlers:
        logger.addHandler(Messages())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
