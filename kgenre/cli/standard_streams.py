"""Standard output and error where nobody takes them: closed, a pipe whose reader has gone, a file on a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

BROKEN_PIPE = 141  # what a shell says of a program that SIGPIPE ended


def open_missing_streams() -> None:
    """Take ``/dev/null`` for those that the program was started without (``2>&-``).

    Else the next file that is opened gets the number of standard error, and the lines that a library writes there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # the system gives the lowest number that is free
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  to the end of the program


def print_every_letter() -> None:
    r"""Let standard output show a title or a file's name that it has no letters for as ``\u6620``."""
    with contextlib.suppress(AttributeError):  # not a file
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def drop_output() -> None:
    """Let what is still to be written to standard output go nowhere: its reader has gone."""
    _to_nowhere(sys.stdout)


@contextlib.contextmanager
def outlived_streams() -> Iterator[None]:
    """Around hours of work, whose results are in files: it goes on where its lines can no longer be written.

    The first line that is lost is told of on the other stream.

    Example:
        >>> with outlived_streams():  # with `| head -1`, or on a full disk, the line is lost and the work goes on
        ...     print("epoch 1")
        epoch 1
    """
    before = sys.stdout, sys.stderr
    out, err = _Outlived("standard output", sys.stdout), _Outlived("standard error", sys.stderr)
    out.other, err.other = err, out
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Outlived:
    """A text stream that goes nowhere from the first error of its file on."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream, self._is_lost = name, stream, False
        self.other: _Outlived | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of the stream."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As of the stream."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], Any]) -> None:
        if self._is_lost:
            return
        try:
            action()
        except OSError as error:
            self._is_lost = True
            _to_nowhere(self._stream)  # what waits in its buffer would fail once more when the program ends
            if self.other is not None:
                lost = f"kgenre: {self._name} cannot be written any more ({error.strerror}); the command continues."
                print(lost, file=self.other, flush=True)


def _to_nowhere(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it has no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
