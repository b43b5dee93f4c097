"""TerminateOnNaN: a NaN or infinite loss ends training, or rolls it back to a checkpoint."""

import csv
import logging

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

import kgenre
from kgenre.callbacks import LearningRateScheduler, ModelCheckpoint, TerminateOnNaN
from kgenre.checkpoints import read_checkpoint
from kgenre.loggers import CSVLogger


def batches(count, bad, value=np.nan):
    """Return batches of which the one at index ``bad`` makes the loss NaN or infinite."""
    data = boring_batches(count)
    if bad is not None:
        data[bad]["y"] = np.full_like(data[bad]["y"], value)
    return data


# A check covers all losses but the newest.
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("every", "bad", "stopped", "steps"),
    [
        (1, 0, 1, 2),
        (1, 3, 4, 5),
        (4, 0, 1, 4),
        (4, 2, 3, 4),
        (4, 3, 4, 8),
        (100, 2, 3, 10),
        (100, 9, 10, 10),
        (1, None, None, 20),
    ],
)
def test_when_it_stops(every, bad, stopped, steps, value):
    callback = TerminateOnNaN(every_n_steps=every)
    trainer = quiet_trainer(max_epochs=2, callbacks=callback)
    trainer.fit(BoringModule(), batches(10, bad, value))
    assert (callback.stopped_step, trainer.global_step) == (stopped, steps)
    assert trainer.should_stop == (stopped is not None)


def test_logs_epoch_and_step_once(caplog):
    class Breaks(BoringModule):
        def on_train_epoch_start(self):
            if self.current_epoch == 2:
                self.model.layers[0].bias.assign([np.nan, np.nan])

    with caplog.at_level(logging.INFO, "kgenre"):
        trainer = quiet_trainer(max_epochs=5, min_epochs=4, callbacks=TerminateOnNaN(1))
        trainer.fit(Breaks(), boring_batches(4))
    assert trainer.global_step == 16  # min_epochs applies here too
    (message,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert message.startswith(
        "Stopping: the training loss is nan at epoch 3, step 9 (logged values that are not finite: train/loss; the "
        "first of 2 variables that are not finite: model.layers.0.kernel). "
    )


def test_second_fit_starts_from_scratch():
    callback = TerminateOnNaN(1)
    trainer = quiet_trainer(callbacks=callback)
    trainer.fit(BoringModule(), batches(4, 0))
    trainer.fit(BoringModule(), batches(4, None))
    assert (callback.stopped_step, trainer.global_step) == (None, 4)


def test_losses_are_fetched_only_every_n_steps():
    class Counts(BoringModule):
        fetched = 0

        def on_train_start(self):
            engine = self.trainer.engine
            to_host = engine.to_host

            def counted(tree):
                self.fetched += isinstance(tree, list) and len(tree) > 0 and tree[0].shape == ()
                return to_host(tree)

            engine.to_host = counted

    module = Counts()
    quiet_trainer(callbacks=TerminateOnNaN(5)).fit(module, boring_batches(20))
    assert module.fetched == 5  # after 5, 10, 15 and 20 batches, and at the end of the epoch


def test_wrong_interval():
    with pytest.raises(ValueError, match=r"TerminateOnNaN\(every_n_steps=...\) must be at least 1. Received: 0"):
        TerminateOnNaN(0)


# --- rollback ------------------------------------------------------------------------------------------------------


def breaks(times):
    """Return a callback that makes the weights NaN at step 6, ``times`` times, and the learning rates it found then."""

    def poison(trainer, module, batch, batch_idx):
        if trainer.global_step == 5 and len(done) < times:
            done.append(trainer.learning_rates())
            kernel = module.model.layers[0].kernel
            trainer.engine.set_variable(kernel, np.full(kernel.shape, np.nan, "float32"))

    done = []
    return Lambdas(on_train_batch_start=poison), done


@pytest.mark.usefixtures("in_tmp_path")
@pytest.mark.parametrize("in_background", [False, True])
def test_rolls_back_with_a_lower_rate(caplog, in_background):
    watch = TerminateOnNaN(every_n_steps=3, max_rollbacks=2, rollback_factor=0.5)
    poison, rates = breaks(times=2)
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=1, async_save=in_background)
    trainer = quiet_trainer(
        max_epochs=3,
        callbacks=[poison, watch, checkpoint],
        enable_checkpointing=True,
        logger=CSVLogger(),
        log_every_n_steps=1,
    )
    with caplog.at_level(logging.INFO, "kgenre"):
        module = BoringModule()
        trainer.fit(module, boring_batches(4))
    assert (trainer.global_step, trainer.current_epoch, watch.rollbacks) == (12, 3, 2)
    assert not trainer.should_stop
    assert np.isfinite(keras.ops.convert_to_numpy(module.model.layers[0].kernel)).all()
    assert [*np.ravel(rates), *trainer.learning_rates()] == pytest.approx([0.1, 0.05, 0.025])
    messages = [record.message for record in caplog.records if record.message.startswith("Rolling back")]
    assert [message.partition("(")[2][:15] for message in messages] == ["rollback 1 of 2", "rollback 2 of 2"]
    assert "step=000005" in messages[0]
    # The logged values and the checkpoints of the discarded steps are gone.
    with (trainer.log_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert all(np.isfinite(float(row["train/loss"])) for row in rows)
    assert [path.name for path in checkpoint.folder.glob("step=*")] == ["step=000012"]


@pytest.mark.usefixtures("in_tmp_path")
def test_each_update_is_saved_once_after_a_rollback_too():
    checkpoint = ModelCheckpoint(None, every_n_train_steps=1, save_top_k=-1)
    callbacks = [breaks(times=1)[0], TerminateOnNaN(every_n_steps=1, max_rollbacks=1), checkpoint]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    saved = sorted(path.name for path in checkpoint.folder.glob("step=*"))
    assert saved == [f"step={step:06d}" for step in range(1, 9)]


@pytest.mark.usefixtures("in_tmp_path")
@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("schedule", [lambda index, rate: 0.1, lambda index, rate: rate], ids=["absolute", "relative"])
def test_a_scheduled_rate_is_lowered_too(schedule, interval):
    poison, rates = breaks(times=2)
    scheduler = LearningRateScheduler(schedule, interval)
    watch, checkpoint = TerminateOnNaN(1, max_rollbacks=2, rollback_factor=0.3), ModelCheckpoint(None)
    callbacks = [scheduler, poison, watch, checkpoint]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    assert [*np.ravel(rates), *trainer.learning_rates()] == pytest.approx([0.1, 0.03, 0.009])
    resumed = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    resumed.fit(BoringModule(), boring_batches(4), ckpt_path="last")
    assert resumed.learning_rates() == pytest.approx([0.009])


@pytest.mark.usefixtures("in_tmp_path")
def test_rollback_restores_the_state_of_the_datamodule():
    class Counting(kgenre.DataModule):
        seen = 0

        def train_dataloader(self):
            return boring_batches(4)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    def count(trainer, module, outputs, batch, batch_idx):
        trainer.datamodule.seen += 1

    poison, _ = breaks(times=1)
    watch, checkpoint = TerminateOnNaN(every_n_steps=1, max_rollbacks=1), ModelCheckpoint(None, every_n_train_steps=1)
    callbacks = [poison, Lambdas(on_train_batch_end=count), watch, checkpoint]
    trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), datamodule=Counting())
    assert (watch.rollbacks, trainer.global_step, trainer.datamodule.seen) == (1, 12, 12)


@pytest.mark.usefixtures("in_tmp_path")
def test_rolls_back_to_an_undamaged_checkpoint(caplog):
    def damage(trainer, module, batch, batch_idx):
        if trainer.global_step == 5:
            (checkpoint.folder / "step=000005" / "weights.safetensors").write_bytes(b"")

    poison, _ = breaks(times=1)
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=1)
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=1, save_top_k=-1)
    callbacks = [poison, Lambdas(on_train_batch_start=damage), watch, checkpoint]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    (message,) = [record.message for record in caplog.records if record.message.startswith("Rolling back")]
    assert "step=000004" in message
    assert (trainer.global_step, watch.rollbacks) == (8, 1)


@pytest.mark.usefixtures("in_tmp_path")
def test_stops_after_max_rollbacks(caplog):
    poison, _ = breaks(times=9)
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=2)
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=1)
    trainer = quiet_trainer(max_epochs=3, callbacks=[poison, watch, checkpoint], enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    assert (watch.rollbacks, watch.stopped_step) == (2, 6)
    assert "Stopping: the training loss is nan at epoch 2, step 6" in caplog.text
    # No checkpoint with NaN weights was kept: the run can be resumed from the step before.
    assert read_checkpoint(checkpoint.last_model_path).state["global_step"] == 5
    later = quiet_trainer(max_epochs=3, enable_checkpointing=True)
    later.fit(BoringModule(), boring_batches(4), ckpt_path="last")
    assert later.global_step == 12


@pytest.mark.usefixtures("in_tmp_path")
def test_run_that_crashes_after_a_rollback_remembers_it():
    def crash(trainer, module, batch, batch_idx):
        if watch.rollbacks and not trainer.resumed_before:
            raise RuntimeError("crash")

    def fit(ckpt_path=None):
        checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=2)
        callbacks = [poison, watch, Lambdas(on_train_batch_start=crash), checkpoint]
        trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
        trainer.resumed_before = ckpt_path is not None
        trainer.fit(BoringModule(), boring_batches(4), ckpt_path=ckpt_path)
        return trainer

    poison, rates = breaks(times=2)
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=1)
    with pytest.raises(RuntimeError, match="crash"):
        fit()
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=1)
    trainer = fit("last")
    assert np.ravel(rates) == pytest.approx([0.1, 0.05])
    assert (watch.rollbacks, watch.stopped_step) == (1, 6)  # no second rollback
    assert trainer.checkpoint_callback.last_model_path.name == "step=000004"


@pytest.mark.usefixtures("in_tmp_path")
def test_rolls_back_to_a_checkpoint_of_a_run_without_it():
    poison, rates = breaks(times=1)
    checkpoint = {"monitor": None, "every_n_train_steps": 4}
    first = quiet_trainer(callbacks=ModelCheckpoint(**checkpoint), enable_checkpointing=True)
    first.fit(BoringModule(), boring_batches(4))
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=3)
    callbacks = [poison, watch, ModelCheckpoint(**checkpoint)]
    trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4), ckpt_path="last")
    assert (watch.rollbacks, trainer.global_step) == (1, 12)
    assert [*np.ravel(rates), *trainer.learning_rates()] == pytest.approx([0.1, 0.05])


@pytest.mark.usefixtures("in_tmp_path")
def test_last_checkpoint_predates_an_accumulated_bad_batch():
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=1)
    checkpoint = ModelCheckpoint(monitor=None)
    data = batches(4, 0)
    mended = Lambdas(on_load_checkpoint=lambda trainer, module, state: data.__setitem__(slice(None), batches(4, None)))

    class BreaksLater(list):
        def __iter__(self):
            return iter(data if trainer.current_epoch == 1 else batches(4, None))

    trainer = quiet_trainer(
        max_epochs=3, callbacks=[watch, mended, checkpoint], enable_checkpointing=True, accumulate_grad_batches=2
    )
    trainer.fit(BoringModule(), BreaksLater(data))
    assert (watch.rollbacks, watch.stopped_step, trainer.global_step) == (1, None, 6)


def test_stops_without_a_checkpoint_to_roll_back_to():
    watch = TerminateOnNaN(every_n_steps=1, max_rollbacks=3)
    trainer = quiet_trainer(callbacks=watch)
    trainer.fit(BoringModule(), batches(8, 2))
    assert (watch.stopped_step, watch.rollbacks) == (3, 0)


def test_rollback_with_a_schedule_is_rejected():
    class Scheduled(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))

    with pytest.raises(TypeError, match="TerminateOnNaN cannot set the learning rate"):
        quiet_trainer(callbacks=TerminateOnNaN(max_rollbacks=1)).fit(Scheduled(), boring_batches(1))


@pytest.mark.parametrize("arguments", [{"max_rollbacks": -1}, {"rollback_factor": 0.0}, {"rollback_factor": 2.0}])
def test_wrong_arguments(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"TerminateOnNaN takes .*{name}={value}"):
        TerminateOnNaN(**arguments)
