"""Seeds, saves and restores the global random generators of Python, NumPy, Keras, TensorFlow and torch."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_global_seed: int | None = None


def global_seed() -> int | None:
    """The seed of `seed_everything`, or of the run that was resumed since; None: neither has happened."""
    return _global_seed


def set_global_seed(seed: int) -> None:
    """Set what `global_seed` returns."""
    global _global_seed
    _global_seed = seed


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


def is_seeded() -> bool:
    """Whether `seed_everything` was called, or in this thread `keras.utils.set_random_seed`."""
    from keras.src.utils.rng_utils import get_random_seed

    return _global_seed is not None or get_random_seed() is not None


def random_state() -> dict[str, Any]:
    """The states as JSON values; torch's only if it is imported.

    A module's own `keras.random.SeedGenerator` is not included, as it is one of the module's variables.
    """
    version, integers, gauss = random.getstate()
    algorithm, key, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "seed": global_seed(),
        "python": [version, _hex(integers), gauss],
        "numpy": [algorithm, _hex(key), int(position), int(has_gauss), float(cached)],
    }
    generator = _keras_generator()
    if generator is not None:
        state["keras"] = np.asarray(generator.state).tolist()
    # On torch, Keras draws dropout from its generators, the CPU's or a GPU's; a torch ``DataLoader`` draws its order
    # from the CPU's under any backend.
    torch = sys.modules.get("torch")
    if torch is not None:
        state["torch"] = _bytes_as_hex(torch.get_rng_state())
        if torch.cuda.is_initialized():
            state["torch_cuda"] = list(map(_bytes_as_hex, torch.cuda.get_rng_state_all()))
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what `random_state` returned, on this or another machine."""
    seed = state.get("seed") or 0  # missing in older checkpoints; without a seed the order of data is that of 0
    if seed != (global_seed() or 0):
        set_global_seed(seed)
    version, integers, gauss = state["python"]
    random.setstate((version, tuple(map(int, _integers(integers))), gauss))
    algorithm, key, *rest = state["numpy"]
    np.random.set_state((algorithm, _integers(key), *rest))
    if "keras" in state:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(np.array(state["keras"], "uint32"))
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in state:
        torch.set_rng_state(_torch_bytes(state["torch"]))
        if "torch_cuda" in state:
            saved = state["torch_cuda"][: torch.cuda.device_count()]  # this machine may have fewer GPUs
            torch.cuda.set_rng_state_all(list(map(_torch_bytes, saved)))


def _keras_generator() -> Any:
    """The generator of `keras.random` calls without a seed, if it exists yet."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def _hex(integers: Any) -> str:
    return np.asarray(integers, ">u4").tobytes().hex()


def _integers(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), ">u4").astype("uint32")


def _bytes_as_hex(tensor: Any) -> str:
    return bytes(tensor.numpy()).hex()


def _torch_bytes(text: str) -> Any:
    import torch

    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def reduced_generator(generator: Any) -> tuple[Any, tuple[int, np.ndarray]]:
    """How to pickle or copy a `keras.random.SeedGenerator`, for `copyreg`: Keras's own holds a Python module."""
    return _generator, (generator.get_config()["seed"], np.asarray(generator.state))


def _generator(seed: int, state: np.ndarray) -> Any:
    import keras

    generator = keras.random.SeedGenerator(seed)
    generator.state.assign(state)
    return generator
