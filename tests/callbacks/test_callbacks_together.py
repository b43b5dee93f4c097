"""Callbacks that act on the same weights, learning rates and stops: each works alone, here they are combined."""

import math
import threading

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of
from keras import ops

import kgenre
from kgenre.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    SpikeDetection,
    TerminateOnNaN,
    WeightAveraging,
)

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL = "model.layers.0.kernel"


def fit(callbacks, module=None, batches=None, ckpt_path=None, **arguments):
    trainer = quiet_trainer(callbacks=callbacks, **{"max_epochs": 3, "enable_checkpointing": True} | arguments)
    trainer.fit(module or BoringModule(), batches or boring_batches(3), boring_batches(1), ckpt_path=ckpt_path)
    return trainer


def nan_in_epoch_2():
    """Return a callback that makes the weights NaN once, before the second step of the third epoch."""

    def poison(trainer, module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (2, 1) and not done:
            done.append(trainer.current_epoch)
            kernel = module.model.layers[-1].kernel
            trainer.engine.set_variable(kernel, np.full(kernel.shape, np.nan, "float32"))

    done = []
    return Lambdas(on_train_batch_start=poison)


def back_to_epoch_1():
    """Return callbacks that roll back once, to the checkpoint of step 4: the first of the three steps of epoch 1."""
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=1)
    return [nan_in_epoch_2(), watch, ModelCheckpoint(monitor=None, every_n_train_steps=4)]


# --- averaged weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("average_first", [True, False])
def test_best_weights_are_the_best_average(average_first):
    def look(trainer, module):
        averages.append(weights_of(module)[KERNEL])
        module.log("val/score", float(len(averages)))  # worse each time

    averages, module = [], BoringModule()
    callbacks = [WeightAveraging(0.5), EarlyStopping("val/score", patience=9, restore_best_weights=True)]
    look_at_it = Lambdas(on_validation_epoch_end=look)
    callbacks = [look_at_it, *(callbacks if average_first else callbacks[::-1])]
    trainer = fit(callbacks, module, num_sanity_val_steps=0)
    assert len(averages) == 3
    np.testing.assert_array_equal(weights_of(module)[KERNEL], averages[0])
    np.testing.assert_array_equal(trainer.engine.state_dict()[KERNEL], averages[0])


@pytest.mark.parametrize("epochs", [3, 9])
@pytest.mark.parametrize("seldom", [{"every_n_epochs": 100}, {"train_time_interval": "01:00:00:00"}])
def test_the_only_checkpoint_is_of_the_newest_weights_not_of_the_best(epochs, seldom):
    def look(trainer, module):
        weights.append(weights_of(module)[KERNEL])
        module.log("val/score", float(len(weights)))  # worse each time

    weights, module = [], BoringModule()
    best = EarlyStopping("val/score", patience=4, restore_best_weights=True)
    checkpoint = ModelCheckpoint("val/score", **seldom)
    fit([best, Lambdas(on_train_epoch_end=look), checkpoint], module, max_epochs=epochs, limit_val_batches=0)
    np.testing.assert_array_equal(weights_of(module)[KERNEL], weights[0])
    saved = BoringModule.load_from_checkpoint(checkpoint.last_model_path)
    np.testing.assert_array_equal(weights_of(saved)[KERNEL], weights[-1])
    assert checkpoint.best_model_score == len(weights) == min(epochs, 5)


def test_checkpoint_after_the_fit_has_the_training_weights_too():
    whole = fit(WeightAveraging(0.5), max_epochs=4)
    begun, module = quiet_trainer(max_epochs=2, callbacks=WeightAveraging(0.5)), BoringModule()
    begun.fit(module, boring_batches(3))
    path = begun.save_checkpoint("by hand")
    np.testing.assert_array_equal(
        weights_of(BoringModule.load_from_checkpoint(path))[KERNEL], weights_of(module)[KERNEL]
    )
    resumed = fit(WeightAveraging(0.5), max_epochs=4, ckpt_path=path)
    for name, array in whole.engine.state_dict().items():
        np.testing.assert_array_equal(resumed.engine.state_dict()[name], array, err_msg=name)


def test_normalization_statistics_are_not_averaged_on_resume():
    class Normalized(BoringModule):
        def __init__(self):
            super().__init__()
            self.normal = keras.layers.Normalization(mean=None)
            self.normal.adapt(boring_batches(1)[0]["x"])
            self.model = keras.Sequential([keras.Input((4,)), self.normal, *self.model.layers])

    def shift(trainer, module):
        module.normal.adapt_mean.assign(module.normal.adapt_mean + 1.0)

    def note(trainer, module):
        means.extend(ops.convert_to_numpy(mean).ravel() for mean in (module.normal.mean, module.normal.adapt_mean))

    means = []
    begun = fit([WeightAveraging(0.5), Lambdas(on_train_epoch_start=shift), ModelCheckpoint()], Normalized())
    path = begun.checkpoint_callback.last_model_path
    fit([WeightAveraging(0.5), Lambdas(on_train_start=note)], Normalized(), ckpt_path=path)
    np.testing.assert_array_equal(means[0], means[1])


def test_two_averages_are_rejected():
    with pytest.raises(ValueError, match="A run can have only one WeightAveraging"):
        fit([WeightAveraging(0.5), WeightAveraging(0.9)])


# --- rolling back to a checkpoint -----------------------------------------------------------------------------------


class Transfer(BoringModule):
    def __init__(self, rate=0.1):
        super().__init__()
        self.rate = rate
        self.backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])

    def error(self, batch, training=False):
        return ops.mean((self.model(self.backbone(batch["x"])) - batch["y"]) ** 2)

    def configure_optimizers(self):
        return {"backbone.*": keras.optimizers.SGD(self.rate), ".*": keras.optimizers.SGD(0.1)}


def test_rollback_freezes_the_backbone_again():
    def note(trainer, module):
        kernels.append((trainer.current_epoch, weights_of(module)["backbone.layers.0.kernel"]))

    kernels = []
    callbacks = [BackboneFinetuning(2), *back_to_epoch_1(), Lambdas(on_train_epoch_end=note)]
    fit(callbacks, Transfer())
    assert [epoch for epoch, _ in kernels] == [0, 1, 1, 2]
    frozen = [np.array_equal(kernel, kernels[0][1]) for _, kernel in kernels]
    assert frozen == [True, True, True, False]


@pytest.mark.parametrize("first", [{"backbone_initial_lr": 0.04}, {"backbone_initial_ratio_lr": 0.4}])
def test_rollback_lowers_the_backbones_first_rate(first):
    callbacks = [BackboneFinetuning(2, should_align=False, **first), nan_in_epoch_2(), TerminateOnNaN(1, 1, 0.5)]
    trainer = fit([*callbacks, ModelCheckpoint(monitor=None)], Transfer())
    assert trainer.learning_rates() == pytest.approx([0.02, 0.05])


def test_rollback_undoes_freezing_by_a_hook():
    def freeze_once(trainer, module):
        if trainer.current_epoch == 2 and not kernels[2:]:
            module.backbone.trainable = False

    def note(trainer, module):
        kernels.append(weights_of(module)["backbone.layers.0.kernel"])

    kernels = []
    freezing = Lambdas(on_train_epoch_start=freeze_once, on_train_epoch_end=note)
    trainer = fit([freezing, *back_to_epoch_1()], Transfer(), max_epochs=4)
    assert len(kernels) == 5, "the second epoch ended twice"
    assert trainer.module.backbone.trainable
    assert not np.array_equal(kernels[-1], kernels[-2])


def test_rollback_restores_what_the_module_has_saved():
    class Counts(BoringModule):
        epochs = 0

        def on_train_epoch_end(self):
            self.epochs += 1

        def on_save_checkpoint(self, checkpoint):
            checkpoint["epochs"] = self.epochs

        def on_load_checkpoint(self, checkpoint):
            self.epochs = checkpoint["epochs"]

    trainer = fit(back_to_epoch_1(), Counts())
    assert (trainer.module.epochs, trainer.current_epoch) == (3, 3)


def test_backbone_with_a_schedule_is_rejected():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    with pytest.raises(TypeError, match=r"BackboneFinetuning cannot set the learning rate of an .* Exp"):
        fit([BackboneFinetuning(1)], Transfer(schedule))


def test_rollback_cancels_an_early_stop():
    """Validation sees the NaN before TerminateOnNaN checks the losses, at the end of the epoch."""
    stopping = EarlyStopping("val/loss")
    watch = TerminateOnNaN(every_n_steps=10, max_rollbacks=1)
    trainer = fit([nan_in_epoch_2(), stopping, watch, ModelCheckpoint(monitor=None)], max_epochs=4)
    assert (watch.rollbacks, trainer.current_epoch, trainer.global_step) == (1, 4, 12)
    assert (stopping.stopped_epoch, trainer.should_stop) == (None, False)
    assert math.isfinite(trainer.callback_metrics["val/loss"])


@pytest.mark.parametrize(("every", "asked"), [(1, [0, 1, 2, 1, 2, 3]), (2, [0, 2, 0, 2])])
def test_rollback_reloads_the_data_of_the_restored_epoch(every, asked):
    class Data(kgenre.DataModule):
        def train_dataloader(self):
            epochs.append(self.trainer.current_epoch)
            return boring_batches(3)

    epochs = []
    trainer = quiet_trainer(
        max_epochs=4,
        callbacks=back_to_epoch_1(),
        enable_checkpointing=True,
        reload_dataloaders_every_n_epochs=every,
    )
    trainer.fit(BoringModule(), Data())
    assert epochs == asked


# --- checkpoints ----------------------------------------------------------------------------------------------------


def test_epoch_failing_before_its_first_step_decays_once():
    """The rate was already halved: if a checkpoint were saved then, the resumed run would halve it again."""

    class Data(list):
        fails = True

        def __iter__(self):
            if trainers and trainers[-1].current_epoch == 2 and self.fails:
                raise OSError("the disk is gone")
            return super().__iter__()

    def run(ckpt_path=None):
        halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
        note = Lambdas(on_fit_start=lambda trainer, module: trainers.append(trainer))
        return fit([halve, note, ModelCheckpoint(save_on_exception=True)], batches=batches, ckpt_path=ckpt_path)

    trainers, batches = [], Data(boring_batches(3))
    with pytest.raises(OSError, match="the disk is gone"):
        run()
    batches.fails = False
    assert run("last").learning_rates() == pytest.approx([0.1 / 8])


@pytest.mark.parametrize(
    ("kind", "is_scheduler"),
    [(EarlyStopping, False), (SpikeDetection, False), (ReduceLROnPlateau, False), (ReduceLROnPlateau, True)],
)
def test_run_resumed_with_a_new_callback_knows_nothing_of_that_callbacks_earlier_run(kind, is_scheduler):
    class Schedules(BoringModule):
        def configure_optimizers(self):
            return {"optimizer": super().configure_optimizers(), "lr_scheduler": callback if is_scheduler else None}

    without = fit([]).save_checkpoint("without")
    states = []
    for has_run in (False, True):
        callback = kind()
        given = [] if is_scheduler else [callback]
        if has_run:
            fit(given, Schedules(), max_epochs=9)  # to a better loss
        fit(given, Schedules(), max_epochs=4, ckpt_path=without)  # the checkpoint has no state for the callback
        states.append(callback.state_dict())
    assert states[0] == states[1]


def test_no_writer_thread_is_left():
    fit(ModelCheckpoint(async_save=True))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]
