"""What a step may receive and return, metrics as attributes, `configure_gradients`, and several data sets."""

import itertools
import warnings
from collections import UserDict

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, descend, quiet_trainer, traces, weights_of
from keras import ops

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import EarlyStopping
from kgenre.engines.step_error import StepError
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL, BIAS = "model.layers.0.kernel", "model.layers.0.bias"


# --- None: the batch is skipped ---------------------------------------------------------------------------------


class OnlyFull(BoringModule):
    """Skips batches of fewer than 8 rows, before it logs anything."""

    def training_step(self, batch, batch_idx):
        if batch["x"].shape[0] < 8:
            return None
        loss = self.error(batch, training=True)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return keras.optimizers.SGD(0.1, momentum=0.5)  # momentum alone would change the weights


@pytest.mark.filterwarnings("ignore:training_step returned None")
def test_none_skips_the_batch():
    full, part = boring_batches(2), boring_batches(1, rows=3)
    logger, ended = InMemoryLogger(), []
    module, reference = OnlyFull(), OnlyFull()
    module.on_train_batch_end = lambda outputs, batch, batch_idx: ended.append(sorted(outputs))
    trainer = quiet_trainer(logger=logger, log_every_n_steps=1)
    trainer.fit(module, [full[0], *part, full[1]])
    quiet_trainer().fit(reference, full)
    for name, array in weights_of(reference).items():
        np.testing.assert_array_equal(weights_of(module)[name], array)
    assert trainer.global_step == 3
    assert ended == [["loss"], [], ["loss"]]
    assert [step for step, _ in logger.history("loss_step")] == [1, 3]
    assert trainer.callback_metrics["loss_epoch"] == pytest.approx(np.mean([v for _, v in logger.history("loss_step")]))


@pytest.mark.filterwarnings("ignore:training_step returned None")
@pytest.mark.parametrize("order", [(8, 3, 8, 8), (8, 8, 3, 8), (8, 8, 3, 3, 8, 8)])
def test_none_in_a_group_of_accumulated_batches(order):
    """The mean is over the batches that were not skipped; a group without any changes nothing."""
    batches = [boring_batches(1, rows=rows, seed=i)[0] for i, rows in enumerate(order)]
    module = OnlyFull()
    quiet_trainer(accumulate_grad_batches=2).fit(module, batches)
    groups = [[b for b in batches[i : i + 2] if len(b["x"]) == 8] for i in range(0, len(batches), 2)]
    joined = [{key: np.concatenate([b[key] for b in group]) for key in ("x", "y")} for group in groups if group]
    reference = OnlyFull()
    quiet_trainer().fit(reference, joined)
    np.testing.assert_allclose(weights_of(module)[KERNEL], weights_of(reference)[KERNEL], rtol=1e-5, atol=1e-6)


def test_step_without_a_return_warns():
    class Forgets(BoringModule):
        def training_step(self, batch, batch_idx):
            self.log("loss", self.error(batch))

    module = Forgets()
    with pytest.warns(UserWarning, match=r"training_step returned None: batches of this shape are skipped") as told:
        quiet_trainer().fit(module, boring_batches(2))
    place = Forgets.training_step.__code__
    places = [(w.filename, w.lineno) for w in told if "returned None" in str(w.message)]
    assert places == [(place.co_filename, place.co_firstlineno)]
    np.testing.assert_array_equal(weights_of(module)[KERNEL], weights_of(BoringModule())[KERNEL])


def test_value_first_logged_after_the_first_batch_is_rejected():
    class Late(BoringModule):
        def training_step(self, batch, batch_idx):
            if batch["x"].shape[0] < 8:
                self.log("late", 1.0)
            return self.error(batch)

    with pytest.raises(StepError, match=r"'late'.* was not called for the first batch"):
        quiet_trainer().fit(Late(), [*boring_batches(1), *boring_batches(1, rows=3)])


@pytest.mark.parametrize(
    "loss",
    [
        lambda m, b: 0.5,
        lambda m, b: {"loss": np.float32(0.5), "error": m.error(b)},
        lambda m, b: ops.mean(b["x"]),
        lambda m, b: ops.stop_gradient(m.error(b)),
        lambda m, b: {"loss": ops.mean(m.model(b["x"]) > 0)},
    ],
)
def test_loss_that_trains_nothing_is_rejected(loss):
    class Constant(BoringModule):
        def training_step(self, batch, batch_idx):
            return loss(self, batch)

    with pytest.raises(StepError, match=r"no gradient reaches a trainable variable of Constant.*keras.ops.*compar"):
        quiet_trainer().fit(Constant(), boring_batches(1))


def test_loss_that_trains_nothing_is_rejected_despite_regularisers():
    class Constant(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_regularizer="l2")])

        def training_step(self, batch, batch_idx):
            return ops.stop_gradient(self.error(batch))

    with pytest.raises(StepError, match="from which no gradient reaches a trainable variable of Constant"):
        quiet_trainer().fit(Constant(), boring_batches(1))


# --- structure and content of batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tuple", "list", "nested"])
def test_batches_as_tuple_list_or_nested_dict(form):
    class Other(BoringModule):
        def training_step(self, batch, batch_idx):
            x, y = (batch["in"]["x"], batch["out"][0]) if form == "nested" else batch
            loss = self.error({"x": x, "y": y})
            return {"loss": loss, "first": x[0]}

    make = {
        "tuple": lambda b: (b["x"], b["y"]),
        "list": lambda b: [b["x"], b["y"]],
        "nested": lambda b: {"in": {"x": b["x"]}, "out": (b["y"],)},
    }[form]
    module, batches = Other(), boring_batches(3)
    quiet_trainer().fit(module, [make(batch) for batch in batches])
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a", "b"], r"'a' \(str\) at batch\['extra'\]\[0\].*StringLookup"),
        ({"of": np.array(["a"])}, r"ndarray\) at batch\['extra'\]\['of'\].*StringLookup"),
        (None, r"'None' \(NoneType\) at batch\['extra'\]"),
        (np.array(["2020-01-01"], "datetime64[D]"), r"ndarray\) at batch\['extra'\]"),
        ([[1, 2], [3, 4]], r"lists of numbers at batch\['extra'\]; .*numpy\.asarray"),
        (UserDict(a=np.ones(2)), r"type UserDict at batch\['extra'\].*dict\(\.\.\.\)"),
        (object(), r"\(object\) at batch\['extra'\]"),
    ],
    ids=["text", "texts", "None", "dates", "rows as lists", "mapping", "object"],
)
def test_non_numeric_values_in_a_batch_are_named(value, message):
    batches = [batch | {"extra": value} for batch in boring_batches(1)]
    for stage, name in (("fit", "train"), ("predict", "predict")):
        with pytest.raises(StepError, match=f"The {name} batch holds .*{message}"):
            getattr(quiet_trainer(), stage)(BoringModule(), batches)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow takes either byte order")
def test_array_in_the_other_byte_order_is_named():
    batches = [batch | {"x": batch["x"].astype(np.dtype("float32").newbyteorder())} for batch in boring_batches(1)]
    with pytest.raises(StepError, match=r"an array of '[<>]f4' at batch\['x'\].*array\.astype\('float32'\)"):
        quiet_trainer().fit(BoringModule(), batches)


def test_validation_within_epochs_of_unknown_length():
    class Stream:
        """Like an IterableDataset: no length."""

        def __iter__(self):
            return iter(boring_batches(5))

    seen = []

    class Watches(BoringModule):
        def on_validation_end(self):
            seen.append(self.trainer.batch_idx)

    trainer = quiet_trainer(max_epochs=2, val_check_interval=2, num_sanity_val_steps=0)
    trainer.fit(Watches(), Stream(), boring_batches(1))
    assert seen == [2, 4, 2, 4]
    assert trainer.global_step == 10


# --- metrics ----------------------------------------------------------------------------------------------------


class WithMetrics(BoringModule):
    def __init__(self):
        super().__init__()
        self.metrics = {stage: keras.metrics.MeanAbsoluteError() for stage in ("train", "val", "test")}

    def note(self, stage, batch):
        self.metrics[stage].update_state(batch["y"], self.model(batch["x"]))
        self.log(f"{stage}/error", self.metrics[stage])

    def training_step(self, batch, batch_idx):
        self.note("train", batch)
        return self.error(batch)

    def validation_step(self, batch, batch_idx):
        self.note("val", batch)

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.note("test", batch)


def absolute_error(before, batches, trains=False):
    """The mean over batches, after training on those in ``before``; ``trains``: also on each batch, once measured."""
    errors = []
    for i, batch in enumerate(batches):
        kernel, bias = descend([*before, *batches[:i]] if trains else before)
        errors.append(np.abs(batch["x"] @ kernel + bias - batch["y"]))
    return pytest.approx(np.mean(np.concatenate(errors)), rel=1e-4)


def test_metrics_are_read_and_reset_each_epoch():
    """Each epoch has other errors; a smaller batch counts by its rows, unlike in a mean of batch means."""
    ragged, other = [*boring_batches(2), *boring_batches(1, rows=2, seed=4)], boring_batches(3, seed=7)
    module, logger = WithMetrics(), InMemoryLogger()
    trainer = quiet_trainer(max_epochs=3, logger=logger)
    trainer.fit(module, ragged, other)
    train, val = ([value for _, value in logger.history(f"{stage}/error")] for stage in ("train", "val"))
    assert train == [absolute_error(ragged * epoch, ragged, trains=True) for epoch in range(3)]
    assert val == [absolute_error(ragged * epochs, other) for epochs in (1, 2, 3)]
    each = trainer.test(dataloaders=[ragged, other], verbose=False)
    assert each == [
        {"test/error/dataloader_idx_0": absolute_error(ragged * 3, ragged)},
        {"test/error/dataloader_idx_1": absolute_error(ragged * 3, other)},
    ]


# --- gradients --------------------------------------------------------------------------------------------------


def test_configure_gradients_changes_what_the_optimizer_sees():
    class NoBias(BoringModule):
        def configure_gradients(self, gradients):
            assert list(gradients) == [KERNEL, BIAS]
            self.log("norm", ops.sqrt(ops.sum(gradients[KERNEL] ** 2)))
            return gradients | {BIAS: gradients[BIAS] * 0.0, KERNEL: gradients[KERNEL] * 2.0}

    module, batches = NoBias(), boring_batches(1)
    trainer = quiet_trainer(log_every_n_steps=1)
    trainer.fit(module, batches)
    start = weights_of(BoringModule())[KERNEL]
    slope = (start - descend(batches, 1.0)[0]) * 0.1
    np.testing.assert_allclose(weights_of(module)[KERNEL], start - 2 * slope, rtol=1e-5)
    assert weights_of(module)[BIAS].tolist() == [0, 0]
    assert trainer.callback_metrics["norm"] == pytest.approx(np.linalg.norm(slope * 10), rel=1e-4)


def test_configure_gradients_precedes_clipping_once_per_update():
    class Large(BoringModule):
        def __init__(self):
            super().__init__(learning_rate=1.0)
            self.updates = keras.Variable(0.0, trainable=False)

        def configure_gradients(self, gradients):
            self.updates.assign_add(1.0)
            return {name: gradient * 1000.0 for name, gradient in gradients.items()}

    module = Large()
    quiet_trainer(gradient_clip_val=0.5, accumulate_grad_batches=2).fit(module, boring_batches(4))
    assert weights_of(module)["updates"] == 2
    moved = np.concatenate([(weights_of(module)[n] - weights_of(BoringModule())[n]).ravel() for n in (KERNEL, BIAS)])
    assert 0.5 < np.linalg.norm(moved) <= 1.0 + 1e-5


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda gradients: None, "Received: NoneType"),
        (lambda gradients: {KERNEL: gradients[KERNEL]}, r"a dict without 'model\.layers\.0\.bias'\."),
        (lambda gradients: gradients | {"extra": 0.0}, r"a dict with 'extra'\."),
    ],
)
def test_configure_gradients_must_return_the_same_names(returned, message):
    class Wrong(BoringModule):
        def configure_gradients(self, gradients):
            return returned(gradients)

    with pytest.raises(StepError, match=message):
        quiet_trainer().fit(Wrong(), boring_batches(1))


def test_freeze_and_unfreeze_in_a_fit():
    class Head(BoringModule):
        def __init__(self):
            super().__init__()
            self.head = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
            self.kernels = []

        def training_step(self, batch, batch_idx):
            return ops.mean((self.head(self.model(batch["x"])) - batch["y"]) ** 2)

        def on_train_epoch_start(self):
            self.model.trainable = self.current_epoch != 1
            self.kernels.append(weights_of(self))

    module = Head()
    quiet_trainer(max_epochs=3).fit(module, boring_batches(2))
    body = [kernels[KERNEL] for kernels in (*module.kernels, weights_of(module))]
    assert [not np.array_equal(a, b) for a, b in itertools.pairwise(body)] == [True, False, True]
    module.freeze()
    with pytest.raises(ValueError, match=r"no trainable variables"):
        quiet_trainer().fit(module, boring_batches(1))


# --- several data sets ------------------------------------------------------------------------------------------


class Several(BoringModule):
    def __init__(self):
        super().__init__()
        self.calls = []

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        assert isinstance(dataloader_idx, int)
        self.log("val/loss", self.error(batch), prog_bar=True)
        if dataloader_idx == 1:
            self.log("second", ops.sum(batch["x"]), add_dataloader_idx=False)

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return batch_idx + 100 * dataloader_idx

    def on_validation_batch_end(self, outputs, batch, batch_idx, dataloader_idx):
        self.calls.append((dataloader_idx, batch_idx))


def loss_on(module, batches):
    kernel, bias = weights_of(module)[KERNEL], weights_of(module)[BIAS]
    return np.mean([np.mean((b["x"] @ kernel + bias - b["y"]) ** 2) for b in batches])


@pytest.mark.parametrize("form", [list, tuple, lambda sets: dict(zip("ab", sets, strict=True))])
def test_several_validation_sets(form):
    sets = [boring_batches(2, seed=1), boring_batches(3, rows=5, seed=2)]
    module = Several()
    trainer = quiet_trainer(num_sanity_val_steps=1)
    trainer.fit(module, boring_batches(2), form(sets))
    assert module.calls == [(0, 0), (1, 0), (0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    results = trainer.validate(dataloaders=form(sets), verbose=False)
    expected = [pytest.approx(loss_on(module, one), rel=1e-5) for one in sets]
    second = pytest.approx(np.mean([b["x"].sum() for b in sets[1]]), rel=1e-4)
    assert results == [
        {"val/loss/dataloader_idx_0": expected[0]},
        {"val/loss/dataloader_idx_1": expected[1], "second": second},
    ]
    once_each = traces(2)  # in the fit and in `validate`
    assert trainer.engine.traces["validation/0"] == trainer.engine.traces["validation/1"] == once_each


def test_first_validation_set_determines_the_best_checkpoint(caplog):
    sets = [boring_batches(2, seed=1), boring_batches(3, rows=5, seed=2)]
    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(Several(), boring_batches(2), sets)
    score = trainer.callback_metrics["val/loss/dataloader_idx_0"]
    assert trainer.checkpoint_callback.best_model_score == score
    with pytest.raises(ValueError, match="no such value was logged"):
        quiet_trainer(callbacks=[EarlyStopping("val/loss")]).fit(Several(), boring_batches(2), sets)
    assert "Did you mean 'val/loss/dataloader_idx_0'" in caplog.text


def test_limit_and_monitor_with_several_validation_sets():
    class Data(kgenre.DataModule):
        def train_dataloader(self):
            return boring_batches(2)

        def val_dataloader(self):
            return [boring_batches(3), kgenre.ArrayDataset(boring_batches(1, rows=24)[0], batch_size=8)]

    module = Several()
    checkpoint = kgenre.callbacks.ModelCheckpoint(monitor="val/loss/dataloader_idx_1")
    trainer = quiet_trainer(limit_val_batches=2, enable_checkpointing=True, callbacks=checkpoint)
    trainer.fit(module, Data())
    assert module.calls[-4:] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert checkpoint.best_model_score == pytest.approx(trainer.callback_metrics["val/loss/dataloader_idx_1"])


def test_predictions_of_several_sets():
    outputs = quiet_trainer().predict(Several(), [boring_batches(2), boring_batches(1)])
    assert [[int(value) for value in one] for one in outputs] == [[0, 1], [100]]
    assert [int(value) for value in quiet_trainer().predict(Several(), boring_batches(2))] == [0, 1]


def test_several_sets_need_a_step_with_dataloader_idx():
    with pytest.raises(TrainerError, match=r"There are 2 validation sets, so BoringModule.validation_step must take"):
        quiet_trainer().fit(BoringModule(), boring_batches(1), [boring_batches(1), boring_batches(1)])
    with pytest.raises(TrainerError, match=r"Training takes one data pipeline. Received: a list of 2"):
        quiet_trainer().fit(BoringModule(), [boring_batches(1), boring_batches(1)])

    class SameName(BoringModule):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("loss", self.error(batch), add_dataloader_idx=False)

    with pytest.raises(ValueError, match=r"'loss', add_dataloader_idx=False.* several validation sets"):
        quiet_trainer().validate(SameName(), [boring_batches(1), boring_batches(1)])


@pytest.mark.parametrize(("form", "kind"), [("from_dense", "SparseTensor"), ("ragged", "RaggedTensor")])
def test_sparse_and_ragged_tensors_in_a_batch_are_named(form, kind):
    tf = pytest.importorskip("tensorflow")
    (batch,) = boring_batches(1)
    made = tf.sparse.from_dense(batch["x"]) if form == "from_dense" else tf.RaggedTensor.from_tensor(batch["x"])
    with pytest.raises(StepError, match=rf"batch holds a {kind} at batch\['x'\].* takes dense arrays"):
        quiet_trainer().fit(BoringModule(), [batch | {"x": made}])


def test_large_integers_that_jax_would_change_are_warned_about():
    class Ids(BoringModule):
        def predict_step(self, batch, batch_idx):
            return batch["id"]

    ids = np.array([7, 2**40 + 5])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = quiet_trainer().predict(Ids(), [{"id": ids}])[0]
    said = [
        str(warning.message) for warning in caught if "computes with 32 bits: the step sees 5" in str(warning.message)
    ]
    assert len(said) == (not np.array_equal(found, ids))
