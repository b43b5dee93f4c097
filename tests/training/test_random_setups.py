"""Random combinations of features: a resumed run equals an uninterrupted one, and a rollback equals a resume.

By default each test tries one setup; `pytest -m exhaustive` tries the others.
"""

import importlib.util
import random
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from kgenre.callbacks import TerminateOnNaN

_spec = importlib.util.spec_from_file_location("random_setup", Path(__file__).with_name("random_setup.py"))
part = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(part)

WAYS = part.stopped_run.WAYS


def seeds(**sample):
    """The seed that is always tried on this backend, and those for `pytest -m exhaustive`."""
    first = sample.get(keras.backend.backend(), 0)
    return [seed if seed == first else pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(60)]


def check_same(first, second):
    found = part.facts(second)
    for what, value in part.facts(first).items():
        assert found[what] == value, what


@pytest.mark.parametrize("seed", seeds(tensorflow=3, jax=44))
def test_resumed_run_equals_uninterrupted_run(tmp_path, seed):
    setup, chance = part.Setup(seed), random.Random(f"stop {seed}")
    how, checkpoint = WAYS[chance.choice(list(WAYS))]
    straight = setup.fit(tmp_path / "straight", checkpoint)
    after = chance.randrange(1, max(2, straight.current_epoch * part.BATCHES))
    setup.fit(tmp_path / "stopped", checkpoint, more=[part.stopped_run.Stop(after, how)])
    check_same(straight, setup.fit(tmp_path / "stopped", checkpoint, ckpt_path="last"))


class GoesBack(TerminateOnNaN):
    """Keeps a copy of the checkpoint that training is rolled back to."""

    state_key = "GoesBack"

    def _stop_or_roll_back(self, trainer, step, found):
        super()._stop_or_roll_back(trainer, step, found)
        assert trainer.pending_rollback is not None, found
        self.copy = shutil.copytree(trainer.pending_rollback.path, trainer.run_dir / "copy")


class BrokenOnce:
    """Batches, one of which is NaN in the given epoch, the first time it is read."""

    def __init__(self, batches, epoch, number):
        self.batches, self.at, self.is_due = batches, (epoch, number), True

    def __len__(self):
        return len(self.batches)

    def epoch_batches(self, epoch, start_batch=0):
        from kgenre.training.data_module import iterate_epoch

        for number, batch in enumerate(iterate_epoch(self.batches, epoch, start_batch), start_batch):
            if self.is_due and (epoch, number) == self.at:
                self.is_due, batch = False, batch | {"y": np.full_like(batch["y"], np.nan)}
            yield batch


@pytest.mark.parametrize("seed", seeds(tensorflow=0, jax=21))
def test_rollback_equals_stop_and_resume(tmp_path, seed):
    setup, chance = part.Setup(seed), random.Random(f"back {seed}")
    setup.source = chance.choice(["shuffled", "list"])
    setup.optimizers = [(*rest, None if rate == "schedule" else rate) for *rest, rate in setup.optimizers]
    checkpoint = chance.choice([{"every_n_epochs": 1}, {"every_n_train_steps": 2}])
    place, every = (chance.randrange(1, part.EPOCHS), chance.randrange(3)), chance.choice([1, 4])

    watch = GoesBack(every, max_rollbacks=1)
    back = setup.fit(tmp_path / "back", checkpoint, more=[watch], batches=BrokenOnce(setup.batches(), *place))
    if not watch.rollbacks:
        assert back.early_stopping_callback.stopped_epoch is not None  # training ended before the NaN batch
        return
    again = GoesBack(every, max_rollbacks=1)
    fresh = setup.fit(tmp_path / "fresh", checkpoint, ckpt_path=watch.copy, more=[again])
    found, expected = part.facts(back), part.facts(fresh)
    for what in ("position", "state", "callbacks", "rates"):
        assert found[what] == expected[what], what
    assert all(np.isfinite(array).all() for array in back.engine.state_dict().values())
