"""Writing while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """One write at a time in a thread that ends with it; what goes wrong is raised by the next `submit` or `wait`."""

    def __init__(self) -> None:
        self._running: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Start a write, once the one before is done."""
        self.wait()
        thread = ThreadPoolExecutor(1, "checkpoint")
        self._running = thread.submit(write)
        thread.shutdown(wait=False)  # it writes to the end, and is gone

    def wait(self) -> None:
        """Return when nothing is being written."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
