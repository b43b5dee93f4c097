"""The backend's own trace of what runs on the device; those of TensorFlow and JAX are for TensorBoard's Profile tab."""

from __future__ import annotations

import os
from typing import Any

_running: list[Any] = []  # torch's profiler object; the others keep theirs to themselves


def start_trace(folder: str | os.PathLike[str]) -> None:
    """Record until `stop_trace`, into ``<folder>/plugins/profile/<time>`` (torch: ``<folder>/*.pt.trace.json``)."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.start_trace(folder)
    elif keras.backend.backend() == "torch":
        import torch

        handler = torch.profiler.tensorboard_trace_handler(os.fspath(folder))
        _running.append(torch.profiler.profile(on_trace_ready=handler))
        _running[-1].start()
    else:
        import tensorflow as tf

        tf.profiler.experimental.start(os.fspath(folder))


def how_to_view(folder: str | os.PathLike[str]) -> str:
    """What shows the trace in a folder."""
    import keras

    if keras.backend.backend() == "torch":  # no format of TensorBoard's
        return f"{folder} (open the newest *.pt.trace.json in https://ui.perfetto.dev)"
    return f"kgenre tensorboard {folder} (Profile tab, needs `pip install xprof`)"


def stop_trace() -> None:
    """Write what was recorded."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.stop_trace()
    elif keras.backend.backend() == "torch":
        _running.pop().stop()
    else:
        import tensorflow as tf

        tf.profiler.experimental.stop()
