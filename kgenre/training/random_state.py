"""The state of the process's random numbers: Python's, NumPy's, Keras's and torch's global generators."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgenre.engines.torch_random import set_torch_random_state, torch_random_state


def random_state() -> dict[str, Any]:
    """The states as JSON values; a `keras.random.SeedGenerator` that a module holds is one of its variables."""
    version, words, gauss = random.getstate()
    algorithm, key, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": [version, _hex(words), gauss],
        "numpy": [algorithm, _hex(key), int(position), int(has_gauss), float(cached)],
    }
    generator = _keras_generator()
    if generator is not None:
        state["keras"] = np.asarray(generator.state).tolist()
    torch = torch_random_state()
    return state if torch is None else state | {"torch": torch}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `random_state` gave."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(map(int, _words(words))), gauss))
    algorithm, key, *rest = state["numpy"]
    np.random.set_state((algorithm, _words(key), *rest))
    if "keras" in state:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(np.array(state["keras"], "uint32"))
    if "torch" in state:
        set_torch_random_state(state["torch"])


def _keras_generator() -> Any:
    """The generator of `keras.random` calls without a seed, if there has been one."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def _hex(words: Any) -> str:
    return np.asarray(words, ">u4").tobytes().hex()


def _words(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), ">u4").astype("uint32")
