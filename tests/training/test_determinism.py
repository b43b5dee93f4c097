"""``Trainer(deterministic=...)``: two runs are equal bit for bit."""

import json
import threading

import keras
import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre import TrainerError

SCRIPT = """
import hashlib, json
import keras, numpy as np
import kgenre
from boring import BoringModule, quiet_trainer

class Net(BoringModule):
    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.MaxPooling2D(),
            layers.Flatten(), layers.Dropout(0.3), layers.Dense(2)])
    def configure_optimizers(self):
        return keras.optimizers.Adam(0.01)

def run(seed):
    kgenre.seed_everything(seed)
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(32, 8, 8, 1)).astype("float32"), "y": rng.normal(size=(32, 2)).astype("float32")}
    trainer = quiet_trainer(max_epochs=3, deterministic=True)
    trainer.fit(Net(), kgenre.ArrayDataset(arrays, batch_size=8, shuffle=True))
    state = trainer.engine.state_dict()
    return hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()

print(json.dumps([run(1), run(1), run(2)]))
"""


def test_two_runs_are_equal_bit_for_bit(run_python):
    first, second, other_seed = json.loads(run_python(SCRIPT).splitlines()[-1])
    assert first == second
    assert first != other_seed


def test_missing_seed_raises_or_warns(monkeypatch, caplog):
    monkeypatch.setenv("KGENRE_GLOBAL_SEED", "3")  # of a parent process: it seeds nothing here
    monkeypatch.setattr("kgenre.engines.random_state._global_seed", None)
    monkeypatch.setattr("keras.src.backend.common.global_state.GLOBAL_STATE_TRACKER", threading.local())
    monkeypatch.setattr("kgenre.engines.determinism.make_deterministic", lambda warn_only: None)
    with pytest.raises(TrainerError, match=r"deterministic=True needs a seed: call kgenre.seed_everything\(0\)"):
        quiet_trainer(deterministic=True).fit(BoringModule(), boring_batches(1))
    quiet_trainer(deterministic="warn").fit(BoringModule(), boring_batches(1))
    assert "deterministic='warn' needs a seed" in caplog.text
    keras.utils.set_random_seed(3)
    quiet_trainer(deterministic=True).fit(BoringModule(), boring_batches(1))


def test_other_values_are_rejected():
    with pytest.raises(ValueError, match=r"deterministic=...\) takes 'warn' or True or False\. Received: 'yes'"):
        quiet_trainer(deterministic="yes")
