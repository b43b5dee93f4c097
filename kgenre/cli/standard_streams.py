"""Standard output and error that cannot be written: closed, a broken pipe, or a file on a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

BROKEN_PIPE = 141  # a shell's exit code for a program that SIGPIPE ended


def open_missing_streams() -> None:
    """Open ``/dev/null`` for standard streams that the program was started without (``2>&-``).

    Otherwise the next file to be opened would get the descriptor of standard error, and the lines that libraries write
    there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # the system assigns the lowest free number
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  to the end of the program


def escape_unencodable_output() -> None:
    r"""Let standard output print characters of titles and paths that its encoding lacks as ``\u6620``."""
    with contextlib.suppress(AttributeError):  # replaced by another object
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def drop_output() -> None:
    """Discard what is still buffered for standard output, as it cannot be written."""
    _redirect_to_devnull(sys.stdout)


@contextlib.contextmanager
def fault_tolerant_streams() -> Iterator[None]:
    """Keep a long command, whose results are in files, running when its output can no longer be written.

    The first loss is reported on the other stream.

    Example:
        >>> with fault_tolerant_streams():  # with `| head -1`, or on a full disk, the line is lost and the work goes on
        ...     print("epoch 1")
        epoch 1
    """
    before = sys.stdout, sys.stderr
    out, err = _FaultTolerantStream("standard output", sys.stdout), _FaultTolerantStream("standard error", sys.stderr)
    out.other, err.other = err, out
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _FaultTolerantStream:
    """A text stream that discards everything after its first write error."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream, self._is_lost = name, stream, False
        self.other: _FaultTolerantStream | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write to the stream, unless it is lost."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, unless it is lost."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], Any]) -> None:
        if self._is_lost:
            return
        try:
            action()
        except OSError as error:
            self._is_lost = True
            _redirect_to_devnull(self._stream)  # its buffered text would fail again at exit
            if self.other is not None:
                lost = f"kgenre: {self._name} can no longer be written ({error.strerror}); the command continues."
                print(lost, file=self.other, flush=True)


def _redirect_to_devnull(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it has no file descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
