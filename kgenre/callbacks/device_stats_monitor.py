"""Log memory and processor use."""

from __future__ import annotations

import math
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class DeviceStatsMonitor(Callback):
    """Logs memory in use and its peak for each accelerator, and the processor time and memory of this process.

    Every ``log_every_n_steps``: ``device/gpu_0/memory_in_use`` and ``device/gpu_0/memory_peak`` in bytes as the
    backend's allocator counts them; ``device/cpu/percent`` (100: one core in full use since the last value) and
    ``device/cpu/memory_peak`` in bytes (0 on Windows).

    Args:
        cpu_stats: log the process's values; None: only where there is no accelerator.

    Example:
        >>> Trainer(log_every_n_steps=50, callbacks=[DeviceStatsMonitor(cpu_stats=True)])
    """

    logs = ("device/",)

    @explain_arguments
    def __init__(self, cpu_stats: bool | None = None) -> None:
        self.cpu_stats = cpu_stats
        self._clocks = (0.0, 0.0)

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Start counting processor time."""
        self._clocks = process_time(), perf_counter()

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request no particular update."""
        return math.inf  # a call ends at log_every_n_steps anyway

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Log every ``log_every_n_steps`` updates."""
        is_last = batch_idx + 1 == trainer.batch_idx  # of those that one call has run
        if not (trainer.logs_are_due and is_last):
            return
        from kgenre.engines.device_memory import device_memory

        memory = device_memory()
        stats: dict[str, float] = {
            f"device/{device}/{name}": n for device, kinds in memory.items() for name, n in kinds.items()
        }
        if self.cpu_stats or (self.cpu_stats is None and not stats):
            before, self._clocks = self._clocks, (process_time(), perf_counter())
            busy, passed = (now - then for now, then in zip(self._clocks, before, strict=True))
            stats["device/cpu/percent"] = 100 * busy / passed
            stats["device/cpu/memory_peak"] = _peak_memory()
        for name, value in stats.items():
            trainer.results.log(name, value)


def _peak_memory() -> int:
    """Return this process's peak memory in bytes; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
