"""Ctrl-C, SIGTERM, SIGHUP and Ctrl-Break: the step is finished and saved before training ends."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("kgenre")


class StopSignal:
    """What the process was asked to do by Ctrl-C (SIGINT), SIGTERM or SIGHUP (its terminal is gone) while a stage runs.

    So it is by Ctrl-Break (SIGBREAK) on Windows, which has no SIGHUP.

    Inside `deferred` the first signal is only noted, and the loop raises it between two batches with
    `raise_if_received`; a second one, and any outside `deferred`, is raised where it comes. Raised are
    `KeyboardInterrupt`, for SIGTERM ``SystemExit(143)``, for SIGHUP ``SystemExit(129)`` and for SIGBREAK
    ``SystemExit(149)``. Handlers that a program has set itself are left alone, as is SIGHUP under nohup, and other
    threads than the main one have none.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.is_urgent = False  # raised where it came: the run's state may be half of one step, half of the next
        self._defers = False

    @property
    def saves(self) -> bool:
        """Whether training was broken off between two batches, so that it can go on from there."""
        return self.received is not None and not self.is_urgent

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Around a stage: the handlers are in place."""
        self.received, self.is_urgent = None, False
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for name in ("SIGHUP", "SIGBREAK"):  # of POSIX; of Windows
                if hasattr(signal, name):
                    defaults[getattr(signal, name)] = signal.SIG_DFL
            for number, default in defaults.items():
                if signal.getsignal(number) == default:
                    before[number] = signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Around a loop that calls `raise_if_received`."""
        self._defers = True
        try:
            yield
        finally:
            self._defers = False

    def raise_if_received(self) -> None:
        """Raise what has come.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for SIGTERM, with code 143, and for SIGHUP, with 129.
        """
        if self.received is not None:
            self._raise(self.received)

    def _receive(self, number: int, frame: Any) -> None:
        if self._defers and self.received is None:
            self.received = signal.Signals(number)
            _log.warning("%s: finishing the step. A second signal exits at once.", self.received.name)
            return
        # Python prints what is raised in a callback of its garbage collector, and goes on: then the loop raises it.
        self.received, self.is_urgent = signal.Signals(number), True
        self._raise(number)

    @staticmethod
    def _raise(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
