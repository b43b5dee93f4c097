"""What a process of `throughput.py` reports about itself: memory, profile, device."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from throughput_rounds import Cell


def gpu_of(backend: str) -> str | None:
    """Return the name of the backend's GPU, None if it sees none."""
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind if jax.default_backend() == "gpu" else None
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(found[0])["device_name"] if found else None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def gpu_bytes(backend: str) -> int | None:
    """Return the most bytes that the backend has held on its GPU."""
    if backend == "jax":
        import jax

        return jax.devices()[0].memory_stats().get("peak_bytes_in_use")
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    import torch

    return torch.cuda.max_memory_allocated()


def device_facts(cell: Cell) -> dict[str, Any]:
    """Return the device's name, and the peak bytes on the host and on the device."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    name = "cpu" if cell.device == "cpu" else gpu_of(cell.backend)
    peak = None if name in ("cpu", None) else gpu_bytes(cell.backend)
    return {"device_name": name, "host_bytes": host, "device_bytes": peak}


def check_device(cell: Cell) -> None:
    """Raise NotImplementedError if the backend sees no GPU: a CPU must not be measured in place of one."""
    if cell.device == "gpu" and cell.contestant != "input" and gpu_of(cell.backend) is None:
        raise NotImplementedError(f"{cell.backend} sees no GPU here")


def profile_of(engine: Any, batch: Any, steps: int = 10) -> dict[str, Any] | None:
    """Trace training steps: the kernels that took most of the time, and the share that the device was busy (JAX)."""
    if engine.name != "jax":
        return None
    import jax

    def train() -> None:
        for _ in range(steps):
            outputs, _ = engine.train_step(batch)
        jax.block_until_ready(outputs)

    train()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            begun = time.perf_counter()
            train()
            wall = time.perf_counter() - begun
        traces = sorted(Path(folder).rglob("*.xplane.pb"))
        planes = jax.profiler.ProfileData.from_file(str(traces[0])).planes
        planes = {plane.name: plane for plane in planes}
        device = next((plane for name, plane in planes.items() if name.startswith("/device:GPU")), None)
        kernels, spans = Counter(), []
        # On a GPU the streams' lines hold kernels; on a CPU the threads' lines hold XLA's thunks.
        for line in (device or planes["/host:CPU"]).lines:
            wanted = line.name.startswith("Stream") if device else "XLAEigen" in line.name or "PjRt" in line.name
            for event in line.events if wanted else ():
                if device is None and ("::" in event.name or event.name.startswith(("while", "call", "Thunk"))):
                    continue  # these contain the others
                kernels[event.name.split("(")[0][:80]] += event.duration_ns
                spans.append((event.start_ns, event.start_ns + event.duration_ns))
    busy, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    total = sum(kernels.values()) or 1
    return {
        "wall_ms_per_step": 1e3 * wall / steps,
        "busy_share": min(1.0, busy / 1e9 / wall),
        "launches_per_step": len(spans) / steps,
        "kernels": [{"name": name, "share": ns / total} for name, ns in kernels.most_common(8)],
    }
