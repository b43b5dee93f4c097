"""Write checkpoints in the background while training continues."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Runs one write at a time, each in its own thread; its error is raised by the next `submit` or `wait`."""

    def __init__(self) -> None:
        self._running: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Start a write, once the previous one is done."""
        self.wait()
        thread = ThreadPoolExecutor(1, "checkpoint")
        self._running = thread.submit(write)
        thread.shutdown(wait=False)  # the thread finishes the write, then ends

    def wait(self) -> None:
        """Wait until nothing is being written."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
