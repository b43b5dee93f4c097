"""The backend's switches for results that repeat bit for bit on the same machine."""

from __future__ import annotations

import os


def make_deterministic(warn_only: bool = False) -> None:
    """Let the backend use only operations that give the same result each time, for the rest of the process.

    Under JAX nothing is switched here: the engine compiles its steps with what a GPU needs, a CPU repeats anyway.

    Args:
        warn_only: torch warns of an operation that cannot repeat, instead of raising; the others know no such mode.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats only with this
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
