"""Several steps per compiled call: the results are the same, and a call ends where something is due."""

import json
import time

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer
from keras import layers, ops

import kgenre
from kgenre.callbacks import DeviceStatsMonitor, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from kgenre.loggers import InMemoryLogger
from kgenre.training import steps_per_execution
from kgenre.training.fit_schedule import FitSchedule
from kgenre.tuning.step_times import fastest

pytestmark = pytest.mark.usefixtures("in_tmp_path")
IS_TORCH = keras.backend.backend() == "torch"
compiled = pytest.mark.skipif(IS_TORCH, reason="torch compiles nothing")


class MLP(BoringModule):
    def __init__(self):
        super().__init__(learning_rate=1e-2)
        self.model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(8, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
                layers.Dropout(0.2, seed=2),
                layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
            ]
        )
        self.metric = keras.metrics.MeanSquaredError()

    def training_step(self, batch, batch_idx):
        outputs = self.model(batch["x"], training=True)
        self.metric.update_state(batch["y"], outputs)
        loss = ops.mean((outputs - batch["y"]) ** 2)
        self.log_dict({"loss": loss, "batch": batch_idx}, on_step=True, on_epoch=True)
        self.log("metric", self.metric)
        return loss

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


class RNN(MLP):
    def __init__(self):
        super().__init__()
        seeded = {"kernel_initializer": keras.initializers.GlorotUniform(seed=1)}
        recurrent = keras.initializers.Orthogonal(seed=2)
        self.model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Reshape((2, 2)),
                layers.SimpleRNN(3, recurrent_initializer=recurrent, seed=3, **seeded),  # compiles faster than an LSTM
                layers.Dense(2, **seeded),
            ]
        )


def calls_of(trainer):
    """A list to which each call of the engine's `train_steps` appends its number of steps."""
    calls = []

    def watch(*_):
        if IS_TORCH:  # its engine has no such method
            return
        run = trainer.engine.train_steps

        def counted(batches, *arguments, **named):
            calls.append(len(batches))
            return run(batches, *arguments, **named)

        trainer.engine.train_steps = counted

    trainer.given_callbacks.append(Lambdas(on_train_start=watch))
    return calls


def fitted(make, batches, **arguments):
    logger, module = InMemoryLogger(), make()
    trainer = quiet_trainer(**{"log_every_n_steps": 4, "max_epochs": 2, "logger": logger} | arguments)
    calls = calls_of(trainer)
    trainer.fit(module, batches, boring_batches(1))
    return trainer, calls, {name: logger.history(name) for name in ("loss_step", "loss_epoch", "metric", "batch_step")}


def assert_same_state(a, b):
    for name, array in a.engine.state_dict().items():
        np.testing.assert_array_equal(b.engine.state_dict()[name], array, err_msg=name)


@compiled
@pytest.mark.parametrize(("make", "accumulate"), [(MLP, 1), (RNN, 3)])
def test_same_results_as_single_steps(make, accumulate):
    ragged = [*boring_batches(10), *boring_batches(1, rows=5, seed=3)]
    single, none, expected = fitted(make, ragged, accumulate_grad_batches=accumulate)
    several, calls, logged = fitted(make, ragged, accumulate_grad_batches=accumulate, steps_per_execution=4)
    assert none == []
    assert calls == {1: [4, 4, 2, 1, 1, 4, 4, 1, 1], 3: [2, 1, 2, 1, 2, 1, 1, 1] * 2}[accumulate]
    assert logged == expected
    assert len(expected["loss_step"]) == {1: 5, 3: 2}[accumulate]
    assert_same_state(single, several)
    # A trace for each shape and, with accumulation, for calls with and without an update.
    assert several.engine.traces["train"] <= single.engine.traces["train"] + 3


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX counts the steps beforehand")
def test_same_results_with_a_static_loop_count(monkeypatch):
    """As on a GPU: batches are put on the device one by one, and no program is compiled for fewer steps."""
    import kgenre.engines.jax

    monkeypatch.setattr(kgenre.engines.jax, "platform", lambda: "gpu")
    single, _, expected = fitted(RNN, boring_batches(10))
    several, calls, logged = fitted(RNN, boring_batches(10), steps_per_execution=4)
    assert calls == [4, 4, 2, 2, 4, 4]
    assert logged == expected
    assert_same_state(single, several)
    assert several.engine.traces["train"] == 2


@compiled
@pytest.mark.parametrize("what", ["dtypes", "keys"])
def test_same_results_where_only_dtypes_or_keys_differ(what):
    """As with tasks that alternate: the step tells them apart when it is compiled."""

    class Alternating(MLP):
        def training_step(self, batch, batch_idx):
            is_other = "z" in batch or keras.backend.standardize_dtype(batch["x"].dtype) == "uint8"
            x = ops.cast(batch["x"], "float32") / (255.0 if is_other else 1.0)
            return super().training_step({"x": x, "y": batch.get("z", batch.get("y"))}, batch_idx)

    batches = boring_batches(4)
    for batch in batches[1::2]:
        if what == "dtypes":
            batch["x"] = np.arange(batch["x"].size, dtype="uint8").reshape(batch["x"].shape)
        else:
            batch["z"] = batch.pop("y")
    single, _, expected = fitted(Alternating, batches)
    several, calls, logged = fitted(Alternating, batches, steps_per_execution=4)
    assert calls == [1] * 8
    assert logged == expected
    assert_same_state(single, several)


@compiled
@pytest.mark.parametrize("steps", [1, 2])
def test_a_number_in_a_batch_has_one_dtype(steps):
    """The one that the step was built with, whether steps run alone or together."""
    found = set()

    class Weighted(MLP):
        def training_step(self, batch, batch_idx):
            found.add(keras.backend.standardize_dtype(batch["weight"].dtype))
            return super().training_step(batch, batch_idx)

    batches = [batch | {"weight": 3} for batch in boring_batches(4)]
    fitted(Weighted, batches, steps_per_execution=steps)
    assert len(found) == 1


def widths_that_differ():
    """A tf.data dataset whose batches differ in their rows and columns."""
    tf = pytest.importorskip("tensorflow")
    (batch,) = boring_batches(1, rows=27)
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4)

    def widened(batch):
        columns = tf.cast(batch["x"][0, 0] > 0, "int32")
        return batch | {"more": tf.zeros([tf.shape(batch["x"])[0], columns])}

    return dataset.map(widened)


@compiled
def test_same_results_with_tf_data_read_in_groups():
    single, _, expected = fitted(MLP, widths_that_differ())
    several, calls, logged = fitted(MLP, widths_that_differ(), steps_per_execution=4)
    assert max(calls) > 1
    assert logged == expected
    assert_same_state(single, several)


class Source:
    """Yields batches; before each, calls ``change`` with its number."""

    def __init__(self, batches, change):
        self.batches, self.change = batches, change

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for i, batch in enumerate(self.batches):
            self.change(i)
            yield batch


def test_source_may_reuse_its_arrays():
    batches = boring_batches(8, rows=512)
    same = {name: np.empty_like(array) for name, array in batches[0].items()}

    def fill(i):
        for name, array in batches[i].items():
            same[name][:] = array

    expected, _, _ = fitted(MLP, batches)
    for steps in (1, 4):
        trainer, _, _ = fitted(MLP, Source([same] * 8, fill), steps_per_execution=steps)
        assert_same_state(expected, trainer)


@compiled
def test_slow_batches_do_not_wait_for_others(monkeypatch):
    monkeypatch.setattr(steps_per_execution, "MAX_WAIT_SECONDS", 0.02)
    _, calls, _ = fitted(MLP, Source(boring_batches(6), lambda i: time.sleep(0.03)), steps_per_execution=4)
    assert max(calls) == 2


@compiled
def test_a_deterministic_run_measures_no_time(monkeypatch):
    """On a GPU, a call of several steps may round differently."""
    monkeypatch.setattr("kgenre.engines.determinism.make_deterministic", lambda warn_only: None)
    kgenre.seed_everything(0)
    monkeypatch.setattr(steps_per_execution, "MIN_UPDATES", 1)
    monkeypatch.setattr(steps_per_execution, "_measure", lambda *_: 4)
    assert fitted(MLP, boring_batches(4), deterministic=True)[0].chosen_steps_per_execution == 1
    monkeypatch.setattr(steps_per_execution, "MAX_WAIT_SECONDS", 0.0)
    _, calls, _ = fitted(MLP, boring_batches(4), deterministic=True, steps_per_execution=4)
    assert calls == [4, 4]


@compiled
def test_tf_data_is_read_in_groups_once_known_to_be_fast(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(boring_batches(1, rows=24)[0]).batch(4)
    asked = []
    watch = Lambdas(on_train_epoch_start=lambda t, _: asked.append(steps_per_execution.batches_at_once(t, dataset)))
    for seconds in (10.0, 0.0):
        monkeypatch.setattr(steps_per_execution, "MAX_WAIT_SECONDS", seconds)
        fitted(MLP, dataset, steps_per_execution=4, callbacks=watch)
    assert asked == [1, 4, 1, 1]


@compiled
def test_batches_before_a_read_error_are_trained_on():
    def fail(i):
        if i == 5:
            raise OSError("the disk is gone")

    trainer = quiet_trainer(steps_per_execution=4)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(MLP(), Source(boring_batches(8), fail))
    assert trainer.global_step == 5


@compiled
def test_a_call_ends_where_something_is_due():
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=7, filename="{step}")
    trainer, calls, _ = fitted(
        MLP,
        boring_batches(12),
        steps_per_execution=8,
        max_steps=17,
        log_every_n_steps=10,
        val_check_interval=5,
        callbacks=[checkpoint, LearningRateMonitor("step"), DeviceStatsMonitor()],
        enable_checkpointing=True,
    )
    # Ends: 5 validation, 7 checkpoint, 10 log and validation, 12 epoch, 14 checkpoint, 17 validation and max_steps.
    assert calls == [5, 2, 3, 2, 2, 3]
    assert (trainer.global_step, trainer.batch_idx) == (17, 5)


@compiled
def test_resume_regroups_the_steps_with_the_same_results():
    """Four steps in one call equal one and, once resumed, three."""
    batches = boring_batches(4)
    whole, calls, _ = fitted(MLP, batches, steps_per_execution=4, max_epochs=1)
    begun, _, _ = fitted(MLP, batches, steps_per_execution=4, max_steps=1)
    path = begun.save_checkpoint("middle")
    resumed = quiet_trainer(steps_per_execution=4, max_epochs=1, log_every_n_steps=4)
    rest = calls_of(resumed)
    resumed.fit(MLP(), batches, boring_batches(1), ckpt_path=path)
    assert (calls, rest) == ([4], [3])
    assert_same_state(whole, resumed)


@compiled
def test_default_callbacks_allow_several_steps_per_call(capsys):
    trainer = kgenre.Trainer(max_epochs=2, steps_per_execution=3, callbacks=EarlyStopping("val/loss"))
    calls = calls_of(trainer)
    trainer.fit(MLP(), boring_batches(6), boring_batches(1))
    assert calls == [3, 3, 3, 3]
    rows = [json.loads(path.read_text()) for path in trainer.run_dir.glob("environment.json")]
    assert rows[0]["steps_per_execution"] == 3
    assert trainer.callback_metrics["throughput/samples_per_second"] > 0


class WithHook(MLP):
    def on_train_batch_end(self, outputs, batch, batch_idx):
        assert "loss" in outputs


def needs_outputs(trainer, module, outputs, batch, batch_idx):
    assert "loss" in outputs


@compiled
@pytest.mark.parametrize(
    ("make", "callback", "who"),
    [(WithHook, None, "WithHook"), (MLP, Lambdas(on_train_batch_end=needs_outputs), "LambdaCallback")],
)
def test_batch_hooks_need_single_steps(make, callback, who, caplog):
    _, calls, _ = fitted(make, boring_batches(4), steps_per_execution=4, callbacks=callback)
    assert calls == []
    assert f"steps_per_execution=4 is ignored: {who}" in caplog.text


@compiled
def test_convolutions_on_a_cpu_run_in_single_steps(caplog):
    class Convolves(MLP):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), layers.Reshape((4, 1)), layers.Conv1D(1, 3)])
            self.model.add(layers.Flatten())

    _, calls, _ = fitted(Convolves, boring_batches(4), steps_per_execution=4)
    assert calls == []
    assert "convolutions in a compiled loop are slow on a CPU" in caplog.text


@compiled
@pytest.mark.parametrize("make", [MLP, WithHook])
def test_auto_gives_the_same_results_and_is_saved(make, monkeypatch):
    monkeypatch.setattr(steps_per_execution, "MIN_UPDATES", 1)
    monkeypatch.setattr(steps_per_execution, "_seconds_of_a_step", lambda *_: 0.0)  # short, and compiled in no time
    monkeypatch.setattr(steps_per_execution, "fastest", lambda *ways: [fastest(*ways), (2.0, 1.0)][1])
    batches, steps = boring_batches(4), 4 if make is MLP else 1
    plain, none, expected = fitted(make, batches, steps_per_execution=1)
    auto, calls, logged = fitted(make, batches, steps_per_execution="auto")
    assert auto.chosen_steps_per_execution == steps
    assert (none, calls) == ([], [4, 4] if steps == 4 else [])
    assert logged == expected
    assert_same_state(plain, auto)
    auto.chosen_steps_per_execution = 2  # another number than would be measured
    path = auto.save_checkpoint("end")
    monkeypatch.setattr(steps_per_execution, "_measure", None)
    resumed = quiet_trainer(steps_per_execution="auto", max_epochs=3)
    calls = calls_of(resumed)
    resumed.fit(make(), batches, boring_batches(1), ckpt_path=path)
    assert calls == ([2, 2] if make is MLP else [])


@compiled
def test_default_measures_only_where_it_may_pay_off(monkeypatch):
    monkeypatch.setattr(steps_per_execution, "_measure", lambda *_: 4)
    short, _, _ = fitted(MLP, boring_batches(4))
    monkeypatch.setattr(steps_per_execution, "MIN_UPDATES", 8)
    long, calls, _ = fitted(MLP, boring_batches(4))
    monkeypatch.setattr(steps_per_execution, "MAX_BYTES_PER_CALL", 1)
    large, _, _ = fitted(MLP, boring_batches(4))
    assert [t.chosen_steps_per_execution for t in (short, long, large)] == [1, 4, 1]
    assert calls == [4, 4]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow computes on texts")
def test_auto_with_texts_in_a_batch(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(steps_per_execution, "MIN_UPDATES", 1)
    dataset = tf.data.Dataset.from_tensor_slices(boring_batches(1, rows=8)[0] | {"id": ["a"] * 8}).batch(4)
    assert fitted(MLP, dataset)[0].chosen_steps_per_execution == 1


@compiled
@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [([0.5, 0.001, 0.001, 0.001], 1), ([0.001, 0.5, 0.5, 0.5], 1), ([0.001, 0.5, 0.001, 0.5], 4)],
)
def test_compiling_several_steps_must_pay_off(seconds, chosen, monkeypatch):
    """The fit has eight steps; ``seconds`` has one step's time with compilation, then three without."""
    monkeypatch.setattr(steps_per_execution, "MIN_UPDATES", 1)
    monkeypatch.setattr(steps_per_execution, "_seconds_of_a_step", lambda *_: seconds.pop(0))
    monkeypatch.setattr(steps_per_execution, "fastest", lambda *_: [1.0, 0.1])
    assert fitted(MLP, boring_batches(4))[0].chosen_steps_per_execution == chosen


@pytest.mark.parametrize(
    ("every", "batches", "accumulate", "chosen"),
    [(50, 99, 1, 25), (96, 99, 1, 32), (37, 99, 1, 32), (10, 99, 1, 10), (0, 99, 1, 32), (50, 6, 1, 6), (50, 99, 4, 3)],
)
def test_auto_chooses_a_number_that_cuts_few_calls_short(every, batches, accumulate, chosen):
    trainer = quiet_trainer(log_every_n_steps=every)
    trainer.schedule = FitSchedule(batches, accumulate_grad_batches=accumulate)
    assert steps_per_execution._auto_steps(trainer) == chosen


@compiled
def test_a_call_is_no_longer_than_an_epoch():
    """Shorter calls are padded to the full size: this one would not fit into memory."""
    plain, _, expected = fitted(MLP, boring_batches(4))
    trainer, _, logged = fitted(MLP, boring_batches(4), steps_per_execution=10**12)
    assert trainer.chosen_steps_per_execution == 4
    assert logged == expected
    assert_same_state(plain, trainer)


@pytest.mark.skipif(not IS_TORCH, reason="the others compile")
@pytest.mark.parametrize("asked", [4, "auto"])
def test_torch_runs_single_steps(asked, caplog):
    plain, _, expected = fitted(MLP, boring_batches(4))
    trainer, _, logged = fitted(MLP, boring_batches(4), steps_per_execution=asked)
    assert trainer.chosen_steps_per_execution == 1
    assert logged == expected
    assert_same_state(plain, trainer)
    assert ("steps_per_execution=4 is ignored: torch compiles nothing." in caplog.text) == (asked == 4)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "many"])
def test_invalid_values_are_rejected(wrong):
    with pytest.raises(
        ValueError, match=rf"steps_per_execution.* ('auto'.*a whole|a whole.*'auto').*Received: '?{wrong}'?$"
    ):
        kgenre.Trainer(steps_per_execution=wrong)
