"""The backend's switches for results that are the same bit for bit on the same machine."""

from __future__ import annotations

import os


def make_deterministic(warn_only: bool = False) -> None:
    """Let the backend use only deterministic operations, for the rest of the process.

    Under JAX this does nothing: the engine compiles its steps with XLA's option for GPUs; CPUs are deterministic.

    Args:
        warn_only: torch warns of a nondeterministic operation instead of raising; other backends have no such mode.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs this to be deterministic
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
