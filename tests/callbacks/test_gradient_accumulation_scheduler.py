import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, weights_of

from kgenre.callbacks import GradientAccumulationScheduler

KERNEL = "model.layers.0.kernel"


def test_updates_per_epoch():
    steps, numbers = [], []

    def look(trainer, module):
        steps.append(trainer.global_step)
        numbers.append(trainer.accumulate_grad_batches)

    note = Lambdas(on_train_epoch_end=look)
    scheduler = GradientAccumulationScheduler({1: 2, 3: 4})
    trainer = quiet_trainer(max_epochs=4, callbacks=[note, scheduler])
    trainer.fit(BoringModule(), boring_batches(4))
    assert np.diff([0, *steps]).tolist() == [4, 2, 2, 1]
    assert numbers == [1, 2, 2, 4]
    assert trainer.accumulate_grad_batches == 1
    trainer.fit(BoringModule(), boring_batches(4))  # a second fit begins with epoch 0 again
    assert trainer.global_step == 9


def test_update_uses_the_mean_gradient():
    batches, module = boring_batches(4), BoringModule()
    scheduler = GradientAccumulationScheduler({0: 4})
    quiet_trainer(callbacks=scheduler).fit(module, batches)
    whole = [{key: np.concatenate([batch[key] for batch in batches]) for key in ("x", "y")}]
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(whole)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [{}, {-1: 2}, {0: 0}, {"a": 1}, {0: 1.5}], ids=str)
def test_wrong_schedules(wrong):
    with pytest.raises(ValueError, match=r"must be a dict of epochs \(from 0\) and batches"):
        GradientAccumulationScheduler(wrong)


def test_conflict_with_accumulate_grad_batches():
    trainer = quiet_trainer(accumulate_grad_batches=2, callbacks=GradientAccumulationScheduler({0: 2}))
    with pytest.raises(ValueError, match=r"accumulate_grad_batches=2\) and a GradientAccumulationScheduler contradict"):
        trainer.fit(BoringModule(), boring_batches(1))
    trainer.callbacks.clear()
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == 2  # the Trainer's own number still holds
