"""The state of the process's random numbers; that a run goes on with it is in training/test_resume.py."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kgenre.engines.random_state import random_state, set_random_state


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="it is always imported")
def test_the_state_of_torch_is_kept_where_it_is_imported(monkeypatch):
    """A torch DataLoader draws its order from it under any backend."""
    states = [np.arange(5, dtype="uint8")]
    torch = SimpleNamespace(
        get_rng_state=lambda: SimpleNamespace(numpy=lambda: states[-1]),
        set_rng_state=states.append,
        frombuffer=np.frombuffer,
        uint8=np.uint8,
    )
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    state = random_state()
    assert "torch" not in state
    set_random_state(state | {"torch": "00"})  # of a checkpoint that torch wrote
    monkeypatch.setitem(sys.modules, "torch", torch)
    set_random_state(random_state())
    np.testing.assert_array_equal(states[1], states[0])
