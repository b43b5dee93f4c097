"""The process's random state is saved and restored; resuming a run with it is tested in training/test_resume.py."""

import json
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kgenre.engines.random_state import random_state, set_random_state


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="it is always imported")
def test_torch_state_is_saved_if_torch_is_imported(monkeypatch):
    """A torch DataLoader shuffles with it under any backend."""
    states = [np.arange(5, dtype="uint8")]
    torch = SimpleNamespace(
        get_rng_state=lambda: SimpleNamespace(numpy=lambda: states[-1]),
        set_rng_state=states.append,
        frombuffer=np.frombuffer,
        uint8=np.uint8,
        cuda=SimpleNamespace(is_initialized=lambda: False),
    )
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    state = random_state()
    assert "torch" not in state
    set_random_state(state | {"torch": "00"})  # from a checkpoint written under torch
    monkeypatch.setitem(sys.modules, "torch", torch)
    set_random_state(random_state())
    np.testing.assert_array_equal(states[1], states[0])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of torch")
@pytest.mark.parametrize("gpus", [0, 1, 2, 3])
def test_states_of_torch_gpus_are_saved(monkeypatch, gpus):
    """Keras's dropout draws from them. The run may be resumed on a machine with fewer or more GPUs."""
    import torch

    restored = []
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    if not torch.cuda.is_initialized():
        assert "torch_cuda" not in random_state()
    states = [torch.tensor(numbers, dtype=torch.uint8) for numbers in ([1, 255], [3, 4])]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    state = json.loads(json.dumps(random_state()))
    set_random_state({name: value for name, value in state.items() if name != "torch_cuda"})  # as saved on a CPU
    assert not restored
    set_random_state(state)
    assert [one.tolist() for one in restored] == [[1, 255], [3, 4]][:gpus]
