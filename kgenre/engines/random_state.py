"""The state of the global random generators of Python, NumPy, Keras and torch."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np


def random_state() -> dict[str, Any]:
    """The states as JSON values; torch's only if it is imported.

    A module's own `keras.random.SeedGenerator` is not included, as it is one of the module's variables.
    """
    version, words, gauss = random.getstate()
    algorithm, key, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": [version, _hex(words), gauss],
        "numpy": [algorithm, _hex(key), int(position), int(has_gauss), float(cached)],
    }
    generator = _keras_generator()
    if generator is not None:
        state["keras"] = np.asarray(generator.state).tolist()
    # On torch, Keras draws dropout from it; a torch ``DataLoader`` draws its order from it under any backend.
    torch = sys.modules.get("torch")
    if torch is not None:
        state["torch"] = bytes(torch.get_rng_state().numpy()).hex()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what `random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(map(int, _words(words))), gauss))
    algorithm, key, *rest = state["numpy"]
    np.random.set_state((algorithm, _words(key), *rest))
    if "keras" in state:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(np.array(state["keras"], "uint32"))
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in state:
        torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state["torch"]), dtype=torch.uint8))


def _keras_generator() -> Any:
    """The generator of `keras.random` calls without a seed, if it exists yet."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def _hex(words: Any) -> str:
    return np.asarray(words, ">u4").tobytes().hex()


def _words(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), ">u4").astype("uint32")
