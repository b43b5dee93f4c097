"""Seeds for every random number of a run, without importing a backend that the run does not use."""

from __future__ import annotations

import random
import sys

import numpy as np


def seed_keras(seed: int) -> None:
    """Do what `keras.utils.set_random_seed` does, but without its import of TensorFlow (3 s).

    Under another backend, TensorFlow and torch are seeded only if something has imported them: a torch ``DataLoader``
    draws its order from torch, whatever the backend.

    Args:
        seed: 0 to 2**32 - 1.
    """
    import keras

    if "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
    else:
        from keras.src.backend.common import global_state
        from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
        from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED

        global_state.set_global_attribute(GLOBAL_RANDOM_SEED, seed)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
        random.seed(seed)
        np.random.seed(seed)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
