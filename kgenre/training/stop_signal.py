"""Ctrl-C, SIGTERM, SIGHUP and Ctrl-Break: finish the current step and save before training ends."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("kgenre")


class StopSignal:
    """Receives Ctrl-C (SIGINT), SIGTERM and SIGHUP (the terminal was closed) while a stage runs.

    On Windows, which has no SIGHUP, it receives Ctrl-Break (SIGBREAK).

    Inside `deferred` the first signal is only recorded, and the loop raises it between two batches with
    `raise_if_received`; a second one, and any outside `deferred`, is raised at once. Ctrl-C raises `KeyboardInterrupt`,
    SIGTERM ``SystemExit(143)``, SIGHUP ``SystemExit(129)`` and SIGBREAK ``SystemExit(149)``. Handlers that a program
    has set itself are left alone, as is SIGHUP under nohup. Stages outside the main thread set no handlers.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.is_urgent = False  # raised at once: the run's state may be a mix of two steps
        self.receives_ctrl_c = False  # so that a KeyboardInterrupt that is not from here was raised by a hook
        self._defers = self._listens = False

    @property
    def saves(self) -> bool:
        """Whether training was stopped between two batches, so that it can be resumed from there."""
        return self.received is not None and not self.is_urgent

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The context of a stage, with the handlers in place; inside that of another, the signals are those of both."""
        if self._listens:
            yield
            return
        self.received, self.is_urgent = None, False
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for name in ("SIGHUP", "SIGBREAK"):  # POSIX; Windows
                if hasattr(signal, name):
                    defaults[getattr(signal, name)] = signal.SIG_DFL
            for number, default in defaults.items():
                if signal.getsignal(number) == default:
                    before[number] = signal.signal(number, self._receive)
        self.receives_ctrl_c = signal.SIGINT in before
        self._listens = True
        try:
            yield
        finally:
            self._listens = False
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """The context of a loop that calls `raise_if_received`; at its end, a signal that came too late is raised."""
        outer, self._defers = self._defers, True
        try:
            yield
        finally:
            self._defers = outer
        if self.received is not None and not outer:
            self.is_urgent = True  # there is nothing left to finish or save
            self._raise(self.received)

    def raise_if_received(self) -> None:
        """Raise the error of a signal that was received.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for SIGTERM, with code 143, for SIGHUP, with 129, and for SIGBREAK, with 149.
        """
        if self.received is not None:
            self._raise(self.received)

    def _receive(self, number: int, frame: Any) -> None:
        if self._defers and self.received is None:
            self.received = signal.Signals(number)
            _log.warning("%s: finishing the step. A second signal exits at once.", self.received.name)
            return
        # Raised in a garbage collector callback, the error is only printed: the loop then raises it by `received`.
        self.received, self.is_urgent = signal.Signals(number), True
        self._raise(number)

    @staticmethod
    def _raise(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
