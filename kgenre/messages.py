"""Shows kgenre's log messages in programs that have not set up logging, such as notebooks and scripts."""

from __future__ import annotations

import logging
import sys


class Messages(logging.Handler):
    """Prints the messages of the logger "kgenre" unformatted, unless another handler receives them.

    They go to standard error; in a notebook, which shows that in red, all below WARNING go to standard output.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message to the current streams: those of a notebook's cell may differ from those at import."""
        if logging.getLogger().handlers or logging.getLogger("kgenre").handlers != [self]:
            return
        is_calm = record.levelno < logging.WARNING and "ipykernel" in sys.modules
        try:
            print(self.format(record), file=sys.stdout if is_calm else sys.stderr, flush=True)
        except Exception:  # a broken pipe, or characters that the stream cannot encode: no reason to stop
            self.handleError(record)


def show_messages() -> None:
    """Show messages of the logger "kgenre" from INFO up; ``logging.getLogger("kgenre").setLevel("WARNING")`` undoes it.

    Without this, training could stop early without telling the user why. A program that sets up logging (root handlers,
    or handlers of "kgenre") receives the messages there and only there.
    """
    logger = logging.getLogger("kgenre")
    if not logger.handlers:
        logger.addHandler(Messages())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
