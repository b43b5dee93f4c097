"""Keras callbacks in a kgenre run do what they do in ``keras.Model.fit``."""

import csv
import itertools

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of

from kgenre.callbacks import KerasCallback

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL = "model.layers.0.kernel"


class Prog(BoringModule):
    def training_step(self, batch, batch_idx):
        loss = self.error(batch)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss


def keras_model(module):
    """Return a compiled copy of the module's model, for ``fit``."""
    model = keras.models.clone_model(module.model)
    model.set_weights(module.model.get_weights())
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    return model


def arrays(count, seed=0):
    batches = boring_batches(count, seed=seed)
    return [np.concatenate([batch[key] for batch in batches]) for key in ("x", "y")]


def test_hooks_are_called_in_the_order_of_keras_fit():
    class Notes(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = []

    def note(name):
        return lambda self, *arguments, **named: self.calls.append(name)

    names = [f"on_{part}_{end}" for part in ("epoch", "train", "test", "train_batch") for end in ("begin", "end")]
    for name in [*names, "on_test_batch_begin", "on_test_batch_end"]:
        setattr(Notes, name, note(name))

    module, ours, theirs = Prog(), Notes(), Notes()
    model = keras_model(module)
    quiet_trainer(max_epochs=2, callbacks=KerasCallback(ours)).fit(module, boring_batches(2), boring_batches(1))
    x, y = arrays(2)
    fit = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0, "validation_batch_size": 8}
    model.fit(x, y, validation_data=tuple(arrays(1)), callbacks=[theirs], **fit)
    assert ours.calls == theirs.calls
    assert (ours.params["epochs"], ours.params["steps"]) == (theirs.params["epochs"], theirs.params["steps"]) == (2, 2)


def test_unknown_counts_are_none_as_in_keras_fit():
    class Starts(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            pass

    class Endless:
        def __iter__(self):
            return itertools.cycle(boring_batches(2))

    started = Starts()
    quiet_trainer(max_epochs=None, max_steps=3, callbacks=KerasCallback(started)).fit(Prog(), Endless())
    assert (started.params["epochs"], started.params["steps"]) == (None, None)


def test_early_stopping_and_restored_weights():
    callback = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, restore_best_weights=True)

    class Worse(Prog):  # the third validation is worse than the second
        def on_validation_epoch_end(self):
            self.log("val/loss", [3.0, 1.0, 2.0, 9.0][self.trainer.current_epoch])

        def validation_step(self, batch, batch_idx):
            return None

        def on_train_epoch_end(self):
            kernels.append(weights_of(self)[KERNEL])

    kernels, module = [], Worse()
    trainer = quiet_trainer(max_epochs=9, num_sanity_val_steps=0, callbacks=KerasCallback(callback))
    trainer.fit(module, boring_batches(2), boring_batches(1))
    assert trainer.current_epoch == 3
    assert callback.stopped_epoch == 2
    np.testing.assert_array_equal(weights_of(module)[KERNEL], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@pytest.mark.parametrize("how", ["scheduler", "plateau"])
def test_learning_rates_set_by_keras(how):
    callback = {
        "scheduler": keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        "plateau": keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=1e9),
    }[how]
    module = Prog(learning_rate=0.1)
    model = keras_model(module)
    trainer = quiet_trainer(max_epochs=3, callbacks=KerasCallback(callback))
    trainer.fit(module, boring_batches(2))
    x, y = arrays(2)
    model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    assert trainer.learning_rates() == [pytest.approx(float(model.optimizer.learning_rate))]
    assert trainer.learning_rates()[0] < 0.1
    np.testing.assert_allclose(weights_of(module)[KERNEL], model.get_weights()[0], rtol=1e-5)


def test_files_written_by_keras(tmp_path):
    saved = str(tmp_path / "{epoch}.weights.h5")
    callbacks = [
        keras.callbacks.CSVLogger("log.csv"),
        keras.callbacks.ModelCheckpoint(saved, save_weights_only=True, save_freq="epoch"),
    ]
    module = Prog()
    trainer = quiet_trainer(max_epochs=2, callbacks=[KerasCallback(callback) for callback in callbacks])
    trainer.fit(module, boring_batches(2), boring_batches(1))
    with open("log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows][-1] == pytest.approx(trainer.callback_metrics["val/loss"])
    assert not [name for name in rows[0] if "/" in name], "each value once"
    again = BoringModule()
    again.model.load_weights(tmp_path / "2.weights.h5")
    np.testing.assert_array_equal(weights_of(again)[KERNEL], weights_of(module)[KERNEL])


def test_logs_are_found_under_both_names():
    class Reads(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((logs["val/loss"], logs.get("val_loss"), "val/loss" in logs, logs.get("absent"), len(logs)))

    seen = []
    trainer = quiet_trainer(callbacks=KerasCallback(Reads()))
    trainer.fit(Prog(), boring_batches(2), boring_batches(1))
    loss, metrics = trainer.callback_metrics["val/loss"], trainer.callback_metrics
    assert seen == [(loss, loss, True, None, len({name.removeprefix("train/") for name in metrics}))]


def test_logs_of_an_evaluation_have_no_prefix_as_in_keras():
    class Reads(keras.callbacks.Callback):
        def on_test_end(self, logs=None):
            seen.append((logs["loss"], "val_loss" in logs or "test_loss" in logs))

    class Tested(Prog):
        def test_step(self, batch, batch_idx):
            self.log("test/loss", self.error(batch))

    seen = []
    trainer, module = quiet_trainer(callbacks=KerasCallback(Reads())), Tested()
    trainer.fit(module, boring_batches(2), boring_batches(1))
    losses = [trainer.callback_metrics["val/loss"], *trainer.test(module, boring_batches(2))[0].values()]
    assert seen == [(loss, False) for loss in losses]


def test_logs_in_training_are_the_epochs_means_so_far_as_in_keras_fit():
    class Both(BoringModule):
        def __init__(self):
            super().__init__()
            self.mae = keras.metrics.MeanAbsoluteError()

        def training_step(self, batch, batch_idx):
            loss = self.error(batch)
            self.mae.update_state(batch["y"], self.model(batch["x"]))
            self.log("train/mae", self.mae)
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            return loss

    class Notes(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen, self.of_steps = [], []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append([logs["loss"], logs["mae"]])
            self.of_steps.append(logs.get("loss_step"))

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append([logs["loss"], logs["mae"]])

        def on_train_end(self, logs=None):
            self.seen.append([logs["loss"], logs["mae"]])

    module, ours, theirs = Both(), Notes(), Notes()
    model = keras_model(module)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    quiet_trainer(max_epochs=2, callbacks=KerasCallback(ours)).fit(module, boring_batches(3), boring_batches(1))
    x, y = arrays(3)
    model.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0, callbacks=[theirs])
    assert len(theirs.seen) == 2 * (3 + 1) + 1
    np.testing.assert_allclose(ours.seen, theirs.seen, rtol=1e-5)
    assert np.mean(ours.of_steps[:3]) == pytest.approx(ours.seen[3][0]), "each step's under its own name"


def test_batch_hook_can_read_and_change_the_newest_weights():
    class Halves(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel = self.model.get_weights()[0]
            seen.append(kernel)
            self.model.set_weights([kernel / 2, self.model.get_weights()[1]])

    seen, module = [], Prog(learning_rate=0.0)
    quiet_trainer(callbacks=KerasCallback(Halves())).fit(module, boring_batches(3))
    for before, after in itertools.pairwise(seen):
        np.testing.assert_array_equal(after, before / 2)
    np.testing.assert_array_equal(weights_of(module)[KERNEL], seen[-1] / 2)


def test_functions_of_a_keras_lambda_callback_are_called():
    seen = []
    functions = {
        "on_epoch_end": lambda epoch, logs: seen.append((epoch, logs["val_loss"] > 0)),
        "on_train_batch_end": lambda batch, logs: seen.append(batch),
    }
    callback = KerasCallback(keras.callbacks.LambdaCallback(**functions))
    quiet_trainer(callbacks=callback).fit(BoringModule(), boring_batches(2), boring_batches(1))
    assert seen == [0, 1, (0, True)]


def test_only_overridden_batch_hooks_are_called():
    class Epochs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    assert "on_train_batch_end" not in vars(KerasCallback(Epochs()))
    assert "on_train_batch_end" in vars(KerasCallback(keras.callbacks.TerminateOnNaN()))


def test_unsupported_callbacks_and_models_are_rejected():
    with pytest.raises(
        TypeError, match=r"keras.callbacks.TensorBoard relies on internals .* kgenre's TensorBoardLogger"
    ):
        KerasCallback(keras.callbacks.TensorBoard("logs"))
    with pytest.raises(TypeError, match=r"takes a keras.callbacks.Callback. Received: int"):
        KerasCallback(3)

    class Two(Prog):
        def __init__(self):
            super().__init__()
            self.other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

    csv_logger = keras.callbacks.CSVLogger("log.csv")
    with pytest.raises(ValueError, match=r"needs one Keras model, but Two has 2. Name the attribute"):
        quiet_trainer(callbacks=KerasCallback(csv_logger)).fit(Two(), boring_batches(1))
    with pytest.raises(ValueError, match=r"needs a Keras model as Two.nothing. Received: None"):
        quiet_trainer(callbacks=KerasCallback(csv_logger, model="nothing")).fit(Two(), boring_batches(1))
    quiet_trainer(callbacks=KerasCallback(csv_logger, model="model")).fit(Two(), boring_batches(1))
