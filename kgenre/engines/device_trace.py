"""The backend's own profiler; TensorBoard's Profile tab shows the traces of TensorFlow and JAX."""

from __future__ import annotations

import os
from typing import Any

from kgenre.quoted_path import quoted_path

_running: list[Any] = []  # torch's profiler object; the other backends keep theirs internally


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
    """How to view the trace in a folder, for a message."""
    import keras

    if keras.backend.backend() == "torch":  # the Profile tab cannot read its format
        return f"{folder} (open the newest *.pt.trace.json in https://ui.perfetto.dev)"
    return f"kgenre tensorboard {quoted_path(folder)} (Profile tab, needs `pip install xprof`)"


def stop_trace() -> None:
    """Stop recording, and write the trace."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.stop_trace()
    elif keras.backend.backend() == "torch":
        _running.pop().stop()
    else:
        import tensorflow as tf

        tf.profiler.experimental.stop()
