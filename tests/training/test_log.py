"""`Module.log`: reductions, names, and when values are fetched and written."""

import json
import warnings

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, traces, weights_of
from keras import ops

import kgenre
from kgenre.callbacks import ModelCheckpoint
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Logs(BoringModule):
    """Calls ``how(self, batch, batch_idx)`` in the training and the validation step."""

    def __init__(self, how):
        super().__init__(learning_rate=0.0)
        self.how = how

    def training_step(self, batch, batch_idx):
        self.how(self, batch, batch_idx)
        return self.error(batch)

    def validation_step(self, batch, batch_idx):
        self.how(self, batch, batch_idx)


def logged_by(how, batches=None, epochs=1, **arguments):
    """Train with ``how`` as the training step's logging; return the logger and the trainer."""
    logger = InMemoryLogger()

    class Training(Logs):
        def validation_step(self, batch, batch_idx):
            raise AssertionError

    arguments = {"logger": logger, "log_every_n_steps": 1, "max_epochs": epochs} | arguments
    trainer = quiet_trainer(**arguments)
    trainer.fit(Training(how), boring_batches(4) if batches is None else batches)
    return logger, trainer


def test_reductions_of_an_epoch():
    def how(module, batch, batch_idx):
        value = ops.cast(batch_idx, "float32") * 2 - 3  # -3, -1, 1, 3
        for reduction in ("mean", "sum", "min", "max"):
            module.log(reduction, value + 1, on_step=False, on_epoch=True, reduce_fx=reduction)
        module.log("weighted", value, on_step=False, on_epoch=True, batch_size=ops.cast(batch_idx, "float32"))
        module.log("no_weight", value, on_step=False, on_epoch=True, batch_size=0)

    logger, trainer = logged_by(how)
    metrics = trainer.callback_metrics
    assert {name: metrics[name] for name in ("mean", "sum", "min", "max")} == {"mean": 1, "sum": 4, "min": -2, "max": 4}
    assert metrics["weighted"] == pytest.approx((-1 * 1 + 1 * 2 + 3 * 3) / 6)
    assert "no_weight" not in metrics
    assert logger.history("sum") == [(4, 4.0)]


@pytest.mark.parametrize("given", [True, False], ids=["given", "found"])
@pytest.mark.parametrize("number", [{}, {"scale": np.float32(1)}], ids=["arrays", "and a number"])
def test_epoch_means_are_weighted_by_rows(given, number):
    def how(module, batch, batch_idx):
        module.log("mean", ops.mean(batch["y"]), batch_size=batch["y"].shape[0] if given else None)

    ragged = [batch | number for batch in (*boring_batches(2, rows=8), *boring_batches(1, rows=3, seed=1))]
    trainer = quiet_trainer()
    metrics = trainer.validate(Logs(how), ragged, verbose=False)[0]
    assert metrics["mean"] == pytest.approx(np.concatenate([b["y"] for b in ragged]).mean(), rel=1e-4)


def test_empty_batch_has_no_weight():
    def how(module, batch, batch_idx):
        module.log("mean", ops.mean(batch["y"]))  # NaN for no rows

    (batch,) = boring_batches(1)
    empty = {name: rows[:0] for name, rows in batch.items()}
    metrics = quiet_trainer().validate(Logs(how), [batch, empty], verbose=False)[0]
    assert metrics["mean"] == pytest.approx(batch["y"].mean(), rel=1e-4)


def test_batches_without_a_common_axis_have_equal_weights():
    def how(module, batch, batch_idx):
        module.log("mean", ops.mean(batch["y"]))

    ragged = [
        batch | {"scales": np.ones(5, "float32")} for batch in (*boring_batches(1), *boring_batches(1, rows=3, seed=1))
    ]
    metrics = quiet_trainer().validate(Logs(how), ragged, verbose=False)[0]
    assert metrics["mean"] == pytest.approx(np.mean([batch["y"].mean() for batch in ragged]), rel=1e-4)


def test_nan_with_zero_weight_is_ignored():
    def how(module, batch, batch_idx):
        value = ops.where(batch_idx == 0, float("nan"), 2.0)
        module.log("value", value, batch_size=ops.where(batch_idx == 0, 0.0, 1.0))

    assert quiet_trainer().validate(Logs(how), boring_batches(3), verbose=False)[0]["value"] == 2.0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda m, b, i: m.log("a", b["x"]), r"log\('a'\) takes a scalar.*shape \(8, 4\)"),
        (lambda m, b, i: (m.log("a", 1.0), m.log("a", 2.0)), r"log\('a'\) was called twice"),
        (lambda m, b, i: m.log("a", "text"), r"log\('a'\) takes a number or a scalar tensor. Received: 'text' .str."),
        (lambda m, b, i: m.log("a", None), r"log\('a'\) takes a number .*NoneType"),
        (lambda m, b, i: m.log("", 1.0), r"log\('', ...\) needs a name"),
        (lambda m, b, i: m.log("a", 1.0, reduce_fx="median"), r"reduce_fx=...\) takes 'mean' or 'sum' .*'median'"),
    ],
)
def test_wrong_calls(how, message):
    with pytest.raises(ValueError, match=message):
        quiet_trainer().validate(Logs(how), boring_batches(1), verbose=False)


def test_neither_on_step_nor_on_epoch_is_rejected():
    with pytest.raises(ValueError, match=r"log\('a', on_step=False\) logs nothing without on_epoch=True"):
        logged_by(lambda module, batch, batch_idx: module.log("a", 1.0, on_step=False))


def test_names_on_step_and_on_epoch():
    def how(module, batch, batch_idx):
        value = ops.cast(batch_idx, "float32")
        module.log("both", value, on_step=True, on_epoch=True)
        module.log("step", value)
        module.log("epoch", value, on_step=False, on_epoch=True)
        module.log("bar", value, prog_bar=True, logger=False)

    logger, trainer = logged_by(how)
    steps = [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    assert logger.history("both_step") == logger.history("step") == steps
    assert logger.history("both_epoch") == logger.history("epoch") == [(4, 1.5)]
    # As in Lightning, callback_metrics has the plain name too: the latest step's value, at the end the epoch's.
    assert trainer.callback_metrics["both"] == 1.5
    assert "both" not in trainer.logged_metrics
    names = {name for _, values in logger.records for name in values}
    assert names == {"both_step", "both_epoch", "step", "epoch"} | {n for n in names if n.startswith("throughput/")}
    assert trainer.progress_bar_metrics == {"bar": 3.0}
    assert trainer.callback_metrics["bar"] == 3.0
    assert "bar" not in trainer.logged_metrics
    assert trainer.logged_metrics["both_step"] == 3.0


@pytest.mark.parametrize(("every", "accumulate", "steps"), [(3, 1, [3, 6, 9]), (2, 2, [2, 4, 6]), (50, 1, [])])
def test_values_are_written_every_n_updates(every, accumulate, steps):
    def how(module, batch, batch_idx):
        module.log("batch", batch_idx)

    logger, _ = logged_by(how, boring_batches(5), epochs=2, log_every_n_steps=every, accumulate_grad_batches=accumulate)
    history = logger.history("batch")
    assert [step for step, _ in history] == steps
    if accumulate == 1:
        assert [value for _, value in history] == [(step - 1) % 5 for step in steps]
    else:  # an epoch of 5 batches has 3 updates: after batches 1, 3 and 4
        assert [value for _, value in history] == [[1, 3, 4][(step - 1) % 3] for step in steps]


@pytest.mark.parametrize(
    ("every", "epochs", "on_epoch", "warned"),
    [(None, 2, False, True), (10, 2, False, False), (11, 2, False, True), (None, 2, True, False), (0, 2, False, False)],
)
def test_warns_of_a_fit_that_ends_before_steps_are_logged(every, epochs, on_epoch, warned, caplog):
    def how(module, batch, batch_idx):
        module.log("batch", batch_idx, on_step=True, on_epoch=on_epoch)

    logged_by(how, boring_batches(5), epochs=epochs, log_every_n_steps=every)
    said = f"This fit ends after 10 updates, but step values are logged every {every or 50}: there will be no curve of "
    assert (f"{said}batch. Set Trainer(log_every_n_steps=1)" in caplog.text) == warned
    assert warned or "step values are logged" not in caplog.text


def test_values_are_transferred_only_when_due():
    transfers = []

    def how(module, batch, batch_idx):
        module.log("batch", batch_idx)

    def count(trainer, module):
        fetch = trainer.engine.to_host

        def counted(tree):
            if keras.tree.flatten(tree):
                transfers.append(trainer.global_step)
            return fetch(tree)

        trainer.engine.to_host = counted

    logged_by(how, boring_batches(9), log_every_n_steps=4, callbacks=Lambdas(on_train_start=count))
    # The values of step 4 are fetched when those of step 8 are due, those of step 8 at the end (with the epoch's).
    assert transfers[:2] == [8, 9]
    assert set(transfers[2:]) <= {9}


def test_keras_metrics_are_read_and_reset_each_epoch():
    class Metric(BoringModule):
        def __init__(self):
            super().__init__(learning_rate=0.0)
            self.mean = keras.metrics.Mean()

        def training_step(self, batch, batch_idx):
            self.mean.update_state(batch["x"])
            self.log("train/mean", self.mean)
            return self.error(batch)

    logger, module, batches = InMemoryLogger(), Metric(), boring_batches(3)
    trainer = quiet_trainer(max_epochs=2, logger=logger)
    trainer.fit(module, batches)
    expected = pytest.approx(np.mean([batch["x"] for batch in batches]), abs=1e-6)
    assert [value for _, value in logger.history("train/mean")] == [expected, expected]
    assert [step for step, _ in logger.history("train/mean")] == [3, 6]
    assert trainer.engine.traces["train"] == traces(1)


def test_keras_metric_of_an_epoch_without_steps_has_no_value():
    class Skips(BoringModule):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean()

        def training_step(self, batch, batch_idx):
            self.mean.update_state(5.0)
            self.log("train/mean", self.mean)
            return self.error(batch)

        def on_train_batch_start(self, batch, batch_idx):
            return -1 if self.current_epoch == 1 else None

    logger = InMemoryLogger()
    trainer = quiet_trainer(max_epochs=2, logger=logger)
    trainer.fit(Skips(), boring_batches(3))
    assert logger.history("train/mean") == [(3, 5.0)]
    assert trainer.callback_metrics["train/mean"] == 5.0  # not 0, which may look like the best value


@pytest.mark.parametrize("resets", [False, True])
def test_warning_about_a_metric_that_is_never_reset(resets):
    class Called(BoringModule):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean()

        def training_step(self, batch, batch_idx):
            self.log("train/mean", self.mean(batch["x"]))  # a torchmetrics metric would return the batch's value
            return self.error(batch)

        def on_train_epoch_start(self):
            if resets:
                self.mean.reset_state()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet_trainer(max_epochs=3).fit(Called(), boring_batches(2))
    said = [str(one.message) for one in caught if "not reset between" in str(one.message)]
    assert len(said) == (not resets)
    assert all(one.startswith("training_step updates the metric self.mean, which is not reset") for one in said)


def test_metric_inside_a_keras_model_is_tracked():
    """As in models on keras.io. Keras does not list such a metric among any layer's variables."""

    class Tracks(keras.Model):
        def __init__(self):
            super().__init__()
            self.tracker = keras.metrics.Sum(name="rows")

        def call(self, x):
            self.tracker.update_state(ops.ones(x.shape[0]))
            return x

    class Net(BoringModule):
        def __init__(self):
            super().__init__()
            self.tracks = Tracks()

        def training_step(self, batch, batch_idx):
            loss = self.error({"x": self.tracks(batch["x"]), "y": batch["y"]})
            self.log("rows", self.tracks.tracker)
            return loss

    trainer, module = quiet_trainer(max_epochs=2), Net()
    trainer.fit(module, boring_batches(3))
    assert trainer.callback_metrics["rows"] == 3 * 8
    assert weights_of(module)["tracks.metrics.0.0"] == 3 * 8


@pytest.mark.one_backend("jax")
@pytest.mark.parametrize("every", [1.0, 0.5])
def test_warning_about_a_metric_shared_with_validation(every):
    class Shares(BoringModule):
        def __init__(self):
            super().__init__()
            self.rows = keras.metrics.Sum()

        def training_step(self, batch, batch_idx):
            self.count(batch, "train/rows")
            return self.error(batch)

        def validation_step(self, batch, batch_idx):
            self.count(batch, "val/rows")

        def count(self, batch, name):
            self.rows.update_state(ops.ones(batch["x"].shape[0]))
            self.log(name, self.rows)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = quiet_trainer(max_epochs=2, val_check_interval=every)
        trainer.fit(Shares(), boring_batches(4), boring_batches(1))
    said = [str(one.message) for one in caught if "metric" in str(one.message)]
    assert len(said) == (every < 1)
    assert all(one.startswith("validation_step logs as val/rows a metric that training_step, whose") for one in said)
    mixed = 8 + 2 * 8  # validation reset the metric and left its own batch in it, then came the epoch's second half
    assert trainer.callback_metrics["train/rows"] == {1.0: 4 * 8, 0.5: mixed}[every]


@pytest.mark.one_backend("jax")
def test_metric_with_a_vector_result_is_rejected():
    class PerClass(BoringModule):
        def __init__(self):
            super().__init__()
            self.f1 = keras.metrics.F1Score(average=None)

        def training_step(self, batch, batch_idx):
            self.f1.update_state(batch["y"], batch["y"])
            self.log("f1", self.f1)
            return self.error(batch)

    with pytest.raises(ValueError, match=r"^log\('f1'\) .* The result of F1Score has the shape \(2,\): .* reset_state"):
        quiet_trainer().fit(PerClass(), boring_batches(1))


def test_values_logged_in_setup_are_written():
    class Logs(BoringModule):
        def setup(self, stage):
            self.log(f"{stage}/rows", 8.0)

    logger, module = InMemoryLogger(), Logs()
    trainer = quiet_trainer(logger=logger)
    for stage in ("fit", "test"):
        getattr(trainer, stage)(module, boring_batches(2))
        assert f"{stage}/rows" in trainer.callback_metrics
        assert [values[f"{stage}/rows"] for _, values in logger.records if f"{stage}/rows" in values] == [8.0]


@pytest.mark.parametrize("arguments", [{"max_epochs": 1}, {"max_steps": 1}], ids=str)
def test_values_logged_in_the_last_hooks_are_written(arguments):
    class Logs(BoringModule):
        def on_train_end(self):
            self.log("a", 1.0)

        def on_fit_end(self):
            self.log("b", 2.0)

        def on_test_end(self):
            self.log("c", 3.0)

    logger, module = InMemoryLogger(), Logs()
    trainer = quiet_trainer(logger=logger, **arguments)
    trainer.fit(module, boring_batches(2))
    assert logger.records[-1] == (trainer.global_step, {"a": 1.0, "b": 2.0})
    trainer.test(module, boring_batches(1), verbose=False)
    assert logger.records[-1] == (trainer.global_step, {"c": 3.0})


@pytest.mark.parametrize("steps", [0, 1])
def test_value_logged_before_the_sanity_check_is_written_as_without_one(steps):
    class Logs(BoringModule):
        def on_fit_start(self):
            self.log("began", 1.0)

    logger = InMemoryLogger()
    quiet_trainer(logger=logger, num_sanity_val_steps=steps).fit(Logs(), boring_batches(2), boring_batches(1))
    assert logger.history("began") == [(2, 1.0)]


def test_sanity_check_leaves_no_trace_in_metrics():
    class Metric(BoringModule):
        def __init__(self):
            super().__init__(learning_rate=0.0)
            self.mean = keras.metrics.Mean()

        def validation_step(self, batch, batch_idx):
            self.mean.update_state(batch["x"])
            self.log("val/mean", self.mean)
            self.log("val/batches", 1.0, reduce_fx="sum")

        def on_validation_epoch_end(self):  # it has this check's values, too
            self.log("val/half", self.trainer.callback_metrics["val/batches"] / 2)

    seen = []
    callback = Lambdas(on_train_start=lambda trainer, module: seen.append(dict(trainer.callback_metrics)))
    batches = boring_batches(3)
    trainer = quiet_trainer(callbacks=callback, num_sanity_val_steps=2)
    trainer.fit(Metric(), boring_batches(1), batches)
    assert seen == [{}]
    assert (trainer.callback_metrics["val/batches"], trainer.callback_metrics["val/half"]) == (3, 1.5)
    assert trainer.callback_metrics["val/mean"] == pytest.approx(np.mean([b["x"] for b in batches]), abs=1e-6)


def test_logged_or_returned_variables_are_read_at_each_step():
    class Counting(BoringModule):
        def __init__(self):
            super().__init__()
            self.seen = keras.Variable(0.0, trainable=False)

        def training_step(self, batch, batch_idx):
            self.log("before", self.seen)
            self.log("bias", self.model.layers[0].bias[0])
            self.seen.assign(self.seen + 1)
            self.log("seen", self.seen)
            return {"loss": super().training_step(batch, batch_idx), "seen": self.seen}

        def on_train_batch_start(self, batch, batch_idx):
            biases.append(float(self.model.layers[0].bias[0]))

        def on_train_batch_end(self, outputs, batch, batch_idx):
            returned.append(float(self.trainer.engine.to_host(outputs["seen"])))

    returned, biases, logger = [], [], InMemoryLogger()
    quiet_trainer(logger=logger, log_every_n_steps=1).fit(Counting(), boring_batches(3))
    assert logger.history("before") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert [value for _, value in logger.history("bias")] == biases
    assert logger.history("seen") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert returned == [1.0, 2.0, 3.0]


def test_logged_values_are_those_of_the_call():
    """torch's ``+=`` changes the tensor in place."""

    class Parts(Logs):
        def training_step(self, batch, batch_idx):
            loss, rows = ops.mean(batch["x"]), ops.ones(())
            self.log("alone", loss, batch_size=rows, on_epoch=True)
            loss += 1 + self.error(batch)
            rows += ops.cast(batch_idx, "float32")
            return loss

        def validation_step(self, batch, batch_idx):
            value = ops.mean(batch["x"])
            self.log("val/alone", value)
            value += 1

    batches = [{"x": x, "y": x[:, :2]} for x in np.array([np.ones((8, 4)), 3 * np.ones((8, 4))], "float32")]
    trainer = quiet_trainer()
    trainer.fit(Parts(None), batches, batches)
    logged = {name: trainer.callback_metrics[name] for name in ("alone_step", "alone_epoch", "val/alone")}
    assert logged == {"alone_step": 3, "alone_epoch": 2, "val/alone": 2}


def test_log_in_hooks_and_log_dict():
    class InHook(BoringModule):
        def on_train_epoch_end(self):
            self.log_dict(dictionary={"a": 1.5, "b": self.current_epoch}, prog_bar=True)
            assert self.loggers == [self.logger]
            self.log("again", 1.0)
            self.log("again", 2.0)

    logger = InMemoryLogger()
    trainer = quiet_trainer(max_epochs=2, logger=logger)
    trainer.fit(InHook(), boring_batches(2))
    assert logger.history("a") == [(2, 1.5), (4, 1.5)]
    assert logger.history("b") == [(2, 0.0), (4, 1.0)]
    assert logger.history("again") == [(2, 2.0), (4, 2.0)]
    assert trainer.progress_bar_metrics == {"a": 1.5, "b": 1.0}


def test_nan_of_two_validations_at_one_update_is_one_point():
    class Diverged(BoringModule):
        def validation_step(self, batch, batch_idx):
            self.log("val/loss", self.error(batch) * float("nan"))

    logger = InMemoryLogger()
    trainer = quiet_trainer(logger=logger, val_check_interval=1, accumulate_grad_batches=2, num_sanity_val_steps=0)
    trainer.fit(Diverged(), boring_batches(4), boring_batches(1))
    assert [step for step, _ in logger.history("val/loss")] == [0, 1, 2]


def test_sync_dist_changes_nothing():
    logger, _ = logged_by(lambda module, batch, batch_idx: module.log_dict({"a": 2.0}, on_epoch=True, sync_dist=True))
    assert (logger.history("a_step"), logger.history("a_epoch")) == ([(n, 2.0) for n in (1, 2, 3, 4)], [(4, 2.0)])


def test_steps_may_log_arrays_of_one_element():
    logger, _ = logged_by(lambda module, batch, batch_idx: module.log("one", ops.sum(batch["x"] * 0 + 1) * ops.ones(1)))
    assert logger.history("one") == [(step, 32.0) for step in range(1, 5)]


def test_hooks_may_log_arrays_of_one_element():
    module = BoringModule()
    module.on_train_epoch_end = lambda: module.log_dict({"array": np.array([1.5]), "tensor": ops.ones((1,))})
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches(1))
    assert (trainer.callback_metrics["array"], trainer.callback_metrics["tensor"]) == (1.5, 1.0)


def test_hooks_may_not_log_strings_or_metrics():
    module = BoringModule()
    module.on_train_epoch_end = lambda: module.log("note", "text")
    with pytest.raises(ValueError, match=r"log\('note'\) takes a number .*'text'"):
        quiet_trainer().fit(module, boring_batches(1))
    module.on_train_epoch_end = lambda: module.log("note", keras.metrics.Mean())
    with pytest.raises(ValueError, match="A metric is logged in the step"):
        quiet_trainer().fit(module, boring_batches(1))


def test_log_without_a_trainer():
    with pytest.raises(RuntimeError, match=r"BoringModule.log needs a Trainer"):
        BoringModule().log("a", 1.0)


def test_callback_metrics_hold_the_latest_step():
    seen = []

    def note(trainer, module, outputs, batch, batch_idx):
        seen.append((trainer.callback_metrics["train/loss"], float(trainer.engine.to_host(outputs["loss"]))))

    quiet_trainer(callbacks=Lambdas(on_train_batch_end=note)).fit(BoringModule(), boring_batches(3))
    assert len(seen) == 3
    assert all(logged == pytest.approx(loss) for logged, loss in seen)


def test_pending_values_do_not_replace_newer_callback_metrics():
    """The values of step 3 are written at the end of the epoch, when the hook has already read those of step 5."""

    def how(module, batch, batch_idx):
        module.log("index", batch_idx)

    seen = []
    hooks = Lambdas(
        on_train_batch_end=lambda trainer, *_: trainer.callback_metrics,
        on_train_epoch_end=lambda trainer, module: seen.append(trainer.callback_metrics["index"]),
    )
    logger, trainer = logged_by(how, boring_batches(5), log_every_n_steps=3, callbacks=hooks)
    assert seen == [trainer.callback_metrics["index"]] == [4.0]
    assert logger.history("index") == [(3, 2.0)]


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (3, [3, 6])])
def test_values_from_batch_hooks_are_written_at_their_step(every, steps):
    logger = InMemoryLogger()

    def note(trainer, module, *_):
        module.log("updates", trainer.global_step)

    callbacks = Lambdas(on_train_batch_end=note)
    trainer = quiet_trainer(max_epochs=2, logger=logger, log_every_n_steps=every, callbacks=callbacks)
    trainer.fit(BoringModule(), boring_batches(3))
    assert [point for point in logger.history("updates") if point[0] % every == 0] == [(n, float(n)) for n in steps]


def test_values_from_hooks_of_evaluated_batches_are_reduced():
    class InHooks(BoringModule):
        def on_validation_batch_start(self, batch, batch_idx):
            self.log("begun", 1.0, reduce_fx="sum")

        def on_validation_batch_end(self, outputs, batch, batch_idx):
            self.log("mean", float(batch_idx), on_step=True)
            self.log_dict({"equal": float(batch_idx), "doubled": 2.0 * batch_idx}, batch_size=1)
            self.log("min", 5.0 - batch_idx, reduce_fx="min")
            self.log("max", -float(batch_idx), reduce_fx="max")
            seen.append(self.trainer.callback_metrics["max"])

        def on_validation_epoch_end(self):
            seen.append(self.trainer.callback_metrics["equal"])

    seen = []
    ragged = [*boring_batches(2), *boring_batches(1, rows=4, seed=2)]
    expected = {"begun": 3.0, "mean": 0.8, "equal": 1.0, "doubled": 2.0, "min": 3.0, "max": 0.0}
    logger = InMemoryLogger()
    trainer = quiet_trainer(max_epochs=2, logger=logger, num_sanity_val_steps=0)
    trainer.fit(InHooks(), boring_batches(1), ragged)
    assert {name: trainer.callback_metrics[name] for name in expected} == pytest.approx(expected)
    assert {name: logger.history(name) for name in expected} == {
        name: [(1, pytest.approx(value)), (2, pytest.approx(value))] for name, value in expected.items()
    }
    assert seen[-4:] == [0.0, 0.0, 0.0, 1.0]  # the value so far, then the epoch's
    assert trainer.validate(dataloaders=ragged[1:], verbose=False)[0]["mean"] == pytest.approx(1 / 3)


def test_checkpoints_are_ranked_by_the_mean_of_a_batch_hook():
    module = BoringModule()

    def log(outputs, batch, batch_idx):  # the means improve, the values of the last batches do not
        module.log("score", [[1.0, 5.0], [9.0, 3.0]][module.current_epoch][batch_idx])

    module.on_validation_batch_end = log
    checkpoint = ModelCheckpoint("score", mode="max", filename="{epoch}")
    trainer = quiet_trainer(max_epochs=2, callbacks=checkpoint, enable_checkpointing=True, num_sanity_val_steps=0)
    trainer.fit(module, boring_batches(1), boring_batches(2))
    assert (checkpoint.best_model_path.name, checkpoint.best_model_score) == ("epoch=1", 6.0)


def test_values_from_hooks_of_training_batches_on_step_and_on_epoch():
    def log(trainer, module, *arguments):
        module.log("step", arguments[-1])
        module.log("epoch", arguments[-1], on_step=False, on_epoch=True)
        module.log("both", arguments[-1], on_epoch=True)

    logger = InMemoryLogger()
    callbacks = Lambdas(on_train_batch_end=log)
    trainer = quiet_trainer(max_epochs=2, logger=logger, log_every_n_steps=2, callbacks=callbacks)
    trainer.fit(BoringModule(), boring_batches(4))
    assert logger.history("step") == logger.history("both_step") == [(2, 1.0), (4, 3.0), (6, 1.0), (8, 3.0)]
    assert logger.history("epoch") == logger.history("both_epoch") == [(4, 1.5), (8, 1.5)]
    assert trainer.callback_metrics["both"] == 1.5


def test_a_value_of_a_batch_hook_must_go_somewhere():
    module = BoringModule()
    module.on_train_batch_end = lambda outputs, batch, batch_idx: module.log("a", 1.0, on_step=False)
    with pytest.raises(ValueError, match=r"on_step=False. logs nothing without on_epoch=True"):
        quiet_trainer().fit(module, boring_batches(1))


def test_sums_of_batch_hooks_survive_resume():
    logger = InMemoryLogger()

    def fit(max_steps, ckpt_path=None):
        options = {"on_step": False, "on_epoch": True}

        def log(trainer, module, outputs, batch, batch_idx):
            module.log("mean", float(batch_idx), **options)
            module.log("nan", float("nan"), **options)

        callbacks = [Lambdas(on_train_batch_end=log), ModelCheckpoint(monitor=None, every_n_train_steps=2)]
        arguments = {"max_epochs": 2, "max_steps": max_steps, "logger": logger, "enable_checkpointing": True}
        trainer = quiet_trainer(callbacks=callbacks, **arguments)
        trainer.fit(BoringModule(), boring_batches(4), ckpt_path=ckpt_path)

    fit(2)
    fit(8, "last")
    assert logger.history("mean")[-2:] == [(4, 1.5), (8, 1.5)]
    assert all(np.isnan(value) for _, value in logger.history("nan"))


def test_values_logged_at_a_checkpoint_survive_resume():
    logger = InMemoryLogger()

    def fit(max_steps, ckpt_path=None):
        note = Lambdas(on_train_batch_end=lambda trainer, module, *_: module.log("updates", trainer.global_step))
        checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=2)
        arguments = {"logger": logger, "log_every_n_steps": 2, "enable_checkpointing": True}
        trainer = quiet_trainer(max_steps=max_steps, callbacks=[note, checkpoint], **arguments)
        trainer.fit(BoringModule(), boring_batches(8), ckpt_path=ckpt_path)

    fit(4)
    fit(6, "last")
    assert logger.history("updates") == [(2, 2.0), (4, 4.0), (6, 6.0)]


def test_loggers_receive_hyperparameters_of_module_and_data():
    class Data(kgenre.DataModule):
        def __init__(self, rows=8):
            self.save_hyperparameters()

        def train_dataloader(self):
            return boring_batches(1, rows=self.hparams.rows)

    logger, module = InMemoryLogger(), BoringModule(learning_rate=0.5)
    quiet_trainer(logger=logger).fit(module, datamodule=Data(4))
    assert logger.hyperparams == {"model": vars(module.hparams), "data": {"rows": 4}}


def test_loggers_receive_numpys_numbers_and_paths_as_plain_values(tmp_path):
    class Drawn(BoringModule):
        def __init__(self, units, rates, words):
            super().__init__()
            self.save_hyperparameters()

    logger = InMemoryLogger()
    module = Drawn(np.int64(8), {"high": np.float32(0.5), "low": [np.float16(0.25)]}, tmp_path)
    quiet_trainer(logger=logger).fit(module, boring_batches(1))
    given = {"units": 8, "rates": {"high": 0.5, "low": [0.25]}, "words": str(tmp_path)}
    assert json.loads(json.dumps({name: logger.hyperparams["model"][name] for name in given})) == given
