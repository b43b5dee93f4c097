"""Searches for a learning rate and a batch size: what they find, and that they leave no trace."""

import random
import signal
from functools import partial

import keras
import matplotlib
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, descend, quiet_trainer, weights_of
from keras import ops

import kgenre
from kgenre.callbacks import BatchSizeFinder, LearningRateFinder
from kgenre.engines.out_of_memory import is_out_of_memory
from kgenre.loggers import InMemoryLogger
from kgenre.tuning import Tuner

pytestmark = [pytest.mark.one_backend("jax"), pytest.mark.usefixtures("in_tmp_path")]
KERNEL = "model.layers.0.kernel"


class Adam(BoringModule):
    """A module with more state than its weights: dropout's seed and Adam's slots."""

    def __init__(self, **arguments):
        super().__init__(dropout=0.2, **arguments)

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


class Sized(kgenre.DataModule):
    def __init__(self, batch_size=8, rows=64):
        self.save_hyperparameters()
        self.batch_size, self.rows = batch_size, rows
        self.opened = 0

    def setup(self, stage):
        self.opened += 1

    def teardown(self, stage):
        self.opened = 0

    def train_dataloader(self):
        assert self.opened
        return boring_dataset(rows=self.rows, batch_size=self.batch_size)


# --- the learning rate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exponential", "linear"])
def test_rates_go_from_min_to_max(mode):
    found = Tuner(quiet_trainer()).lr_find(
        BoringModule(), boring_batches(4), min_lr=1e-4, max_lr=1e-1, num_training=31, mode=mode
    )
    rates = np.asarray(found.results["lr"])
    assert len(rates) == len(found.results["loss"]) == 31
    assert rates[[0, -1]] == pytest.approx([1e-4, 1e-1])
    steps = rates[1:] / rates[:-1] if mode == "exponential" else np.diff(rates)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    shown = f"RangeTest(mode='{mode}', lr_min=0.0001, lr_max=0.1, num_training=31)"
    assert repr(found) == shown, "a notebook shows it when it ends a cell"


def test_constant_loss_is_recorded_unchanged():
    class Stays(BoringModule):
        def training_step(self, batch, batch_idx):
            return 0 * self.error(batch) + 3

    found = Tuner(quiet_trainer()).lr_find(Stays(), boring_batches(4), num_training=8)
    np.testing.assert_allclose(found.results["loss"], 3, rtol=1e-6)


def test_suggestion_is_set_plotted_and_trains_well():
    module = BoringModule(learning_rate=1e-7)
    found = Tuner(quiet_trainer()).lr_find(module, boring_batches(4), max_lr=10)
    assert module.learning_rate == module.hparams.learning_rate == found.suggestion()
    matplotlib.use("Agg")
    (axes,) = found.plot(suggest=True).axes
    curve, mark = axes.lines
    assert curve.get_xdata().tolist() == found.results["lr"]
    assert mark.get_xdata().tolist() == [found.suggestion()]
    assert axes.get_xscale() == "log"
    # On these batches SGD diverges with rates above about 2 and hardly moves with rates below 1e-3.
    assert 1e-3 < module.learning_rate < 2
    trainer = quiet_trainer(max_epochs=10)
    trainer.fit(module, boring_batches(4))
    assert trainer.callback_metrics["train/loss"] < 0.5 * found.results["loss"][0]


def test_diverging_search_ends_early():
    module = BoringModule()
    found = Tuner(quiet_trainer()).lr_find(module, boring_batches(4), max_lr=100)
    assert len(found.results["lr"]) < 100
    assert max(found.results["loss"]) == found.results["loss"][-1]
    whole = Tuner(quiet_trainer()).lr_find(BoringModule(), boring_batches(4), max_lr=1, early_stop_threshold=None)
    assert len(whole.results["lr"]) == 100


def test_divergence_of_a_negative_loss():
    class Negative(BoringModule):
        def training_step(self, batch, batch_idx):
            return self.error(batch) - 10.0

    module = Negative()
    for max_lr, whole in ((1, True), (100, False)):
        found = Tuner(quiet_trainer()).lr_find(module, boring_batches(4), max_lr=max_lr)
        assert (len(found.losses) == 100) == whole
    assert found.losses[-1] > 10


def test_too_few_values_for_a_suggestion(caplog):
    module = BoringModule(learning_rate=0.5)
    found = Tuner(quiet_trainer()).lr_find(module, boring_batches(4), num_training=5)
    assert found.suggestion() is None
    assert module.learning_rate == 0.5
    assert "No learning rate can be suggested from 5 values" in caplog.text


def trained(search):
    """Fit, after a search if ``search``; return the engine's state, the next random numbers and the trainer."""

    class Draws(Adam):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            random.random(), np.random.random()

    keras.utils.set_random_seed(1)
    module = Draws(learning_rate=0.01)
    trainer = quiet_trainer(
        max_epochs=2,
        logger=InMemoryLogger(),
        log_every_n_steps=1,
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
    )
    if search:
        Tuner(trainer).lr_find(module, boring_batches(3), num_training=20, update_attr=False)
        assert (trainer.global_step, trainer.current_epoch, trainer._engine, trainer._module) == (0, 0, None, None)
        assert trainer.logger.records == []
        assert trainer.max_steps == -1
    trainer.fit(module, boring_batches(3))
    state = trainer.engine.state_dict()
    return state, (random.random(), np.random.random()), trainer


def test_search_leaves_no_trace():
    (state, drawn, trainer), (same, same_drawn, other) = trained(search=True), trained(search=False)
    assert drawn == same_drawn
    assert trainer.global_step == other.global_step
    assert trainer.logger.history("train/loss") == other.logger.history("train/loss")
    assert state.keys() == same.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, same[name], err_msg=name)


def test_search_between_fits_restores_the_fitted_state():
    module, trainer = Adam(), quiet_trainer(max_epochs=2)
    trainer.fit(module, boring_batches(3))
    before, optimizer, results = weights_of(module), trainer.engine.state_dict(), dict(trainer.callback_metrics)
    Tuner(trainer).lr_find(module, boring_batches(3), num_training=20)
    after = weights_of(module)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    for name, array in trainer.engine.state_dict().items():
        np.testing.assert_array_equal(optimizer[name], array)
    assert (trainer.global_step, trainer.callback_metrics) == (6, results)
    assert module.trainer is trainer


def test_a_datamodule_in_place_of_batches_is_left_as_it_was():
    data = Sized()
    assert Tuner(quiet_trainer()).lr_find(BoringModule(), data, num_training=20).suggestion() is not None
    assert data.trainer is None


def test_failed_search_restores_the_weights():
    class Fails(Adam):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if batch_idx == 2:
                raise ZeroDivisionError

    module = Fails()
    before = weights_of(module)
    with pytest.raises(ZeroDivisionError):
        Tuner(quiet_trainer()).lr_find(module, boring_batches(3))
    for name, array in weights_of(module).items():
        np.testing.assert_array_equal(before[name], array)


@pytest.mark.parametrize("search", ["lr_find", "scale_batch_size", "step_times"])
def test_ctrl_c_ends_a_search(search):
    class Stopped(Sized):
        def train_dataloader(self):
            signal.raise_signal(signal.SIGINT)
            return super().train_dataloader()

    data = Stopped()
    with pytest.raises(KeyboardInterrupt):
        getattr(Tuner(quiet_trainer()), search)(BoringModule(), datamodule=data)
    assert (data.trainer, data.batch_size) == (None, 8)


@pytest.mark.parametrize("finder", [LearningRateFinder(), BatchSizeFinder()], ids=["rate", "batch size"])
def test_ctrl_c_in_a_search_ends_the_fit(finder):
    class Stopped(Sized):
        def train_dataloader(self):
            yield_one = super().train_dataloader()
            signal.raise_signal(signal.SIGINT)
            return yield_one

    module, data = BoringModule(learning_rate=1e-9), Stopped()
    trainer = quiet_trainer(callbacks=finder)
    trainer.fit(module, datamodule=data)
    assert (trainer.interrupted, trainer.global_step) == (True, 0)
    assert (module.learning_rate, data.batch_size, data.hparams.batch_size) == (1e-9, 8, 8)


def test_learning_rate_finder_in_a_fit():
    finder, data = LearningRateFinder(min_lr=1e-5, num_training_steps=40), Sized()
    module = BoringModule(learning_rate=1e-9)
    trainer = quiet_trainer(max_epochs=3, callbacks=finder)
    trainer.fit(module, datamodule=data)
    assert module.learning_rate == finder.optimal_lr.suggestion()
    assert trainer.learning_rates() == [pytest.approx(module.learning_rate)]
    assert trainer.global_step == 24
    assert module.trainer is data.trainer is trainer
    other = BoringModule(learning_rate=1e-9)
    quiet_trainer(callbacks=LearningRateFinder(num_training_steps=40)).fit(other, boring_batches(8))
    assert other.learning_rate > 1e-9  # batches passed to fit work too


class AtEpoch1(LearningRateFinder):
    """Searches in a hook, as in Lightning's documentation of this callback."""

    def setup(self, trainer, module, stage):
        """Do not search here."""

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            self.lr_find(trainer, module)


def test_search_in_a_hook_of_a_fit_sets_the_rate_of_its_optimizer():
    finder, batches = AtEpoch1(num_training_steps=40), boring_batches(8)
    module, trainer = BoringModule(learning_rate=1e-3), quiet_trainer(max_epochs=2, callbacks=finder)
    trainer.fit(module, batches)
    rate = finder.optimal_lr.suggestion()
    assert [module.learning_rate, *trainer.learning_rates()] == [rate, pytest.approx(rate)]
    kernel, bias = descend(batches, 1e-3)
    for batch in batches:
        slope = 2 * (batch["x"] @ kernel + bias - batch["y"]) / batch["y"].size
        kernel, bias = kernel - rate * batch["x"].T @ slope, bias - rate * slope.sum(0)
    np.testing.assert_allclose(weights_of(module)["model.layers.0.kernel"], kernel, rtol=1e-4, atol=1e-6)


def by_hook():
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [partial(signal.raise_signal, signal.SIGINT), by_hook], ids=["signal", "hook"])
def test_ctrl_c_after_a_search_in_a_hook_saves_the_step(in_tmp_path, stop):
    def interrupt(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 10:
            stop()

    callbacks = [AtEpoch1(num_training_steps=12), Lambdas(on_train_batch_end=interrupt)]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), datamodule=Sized())
    assert trainer.interrupted
    assert trainer.checkpoint_callback.last_model_path.name == "step=000010"


def test_overridden_search_is_used():
    class Coarse(LearningRateFinder):
        def lr_find(self, trainer, module):
            self.use(trainer, module, 0.25)

    module = BoringModule()
    trainer = quiet_trainer(callbacks=Coarse())
    trainer.fit(module, boring_batches(2))
    assert trainer.learning_rates() == [module.learning_rate] == [0.25]


def test_resumed_run_keeps_its_learning_rate(tmp_path):
    module = BoringModule(learning_rate=0.125)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, boring_batches(2))
    path = trainer.save_checkpoint(tmp_path / "checkpoint")
    finder = LearningRateFinder()
    again = quiet_trainer(max_epochs=2, callbacks=finder)
    again.fit(module, boring_batches(2), ckpt_path=path)
    assert finder.optimal_lr is None
    assert again.learning_rates() == [0.125]


def test_resumed_run_keeps_the_results_of_its_searches():
    def fit(max_epochs, ckpt_path=None):
        module, data = BoringModule(learning_rate=1e-9), Sized()
        finders = [LearningRateFinder(num_training_steps=30), BatchSizeFinder(init_val=4, max_trials=2)]
        trainer = quiet_trainer(max_epochs=max_epochs, callbacks=finders)
        trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
        return (
            trainer.save_checkpoint(f"after_{max_epochs}"),
            trainer.learning_rates(),
            data.batch_size,
            trainer.global_step,
        )

    path, rates, batch_size, _ = fit(1)
    assert (rates[0] > 1e-8, batch_size) == (True, 8)
    for epochs in (2, 3):  # also when it is resumed a second time
        path, *found = fit(epochs, path)
        assert found == [rates, 8, 8 * epochs]


def test_learning_rate_under_another_name():
    class Other(BoringModule):
        def __init__(self):
            super().__init__()
            self.speed = self.learning_rate
            del self.learning_rate
            del self.hparams.learning_rate

        def configure_optimizers(self):
            return keras.optimizers.SGD(self.speed)

    module, tuner = Other(), Tuner(quiet_trainer())
    with pytest.raises(ValueError, match="sets the attribute 'lr' or 'learning_rate', but Other has none") as caught:
        tuner.lr_find(module, boring_batches(2))
    line, message = caught.value._render_traceback_()  # in a notebook
    assert line.endswith("(tuner.lr_find(module, boring_batches(2)))")
    assert message == f"SearchError: {caught.value}"
    found = tuner.lr_find(module, boring_batches(2), attr_name="speed")
    assert module.speed == found.suggestion()


def test_errors_of_the_range_test():
    class Scheduled(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))

    with pytest.raises(TypeError, match=r"A range test cannot set the learning rate .* ExponentialDecay"):
        Tuner(quiet_trainer()).lr_find(Scheduled(), boring_batches(2))

    class Two(BoringModule):
        def configure_optimizers(self):
            return {".*kernel": keras.optimizers.SGD(0.1), ".*": keras.optimizers.SGD(0.1)}

    with pytest.raises(ValueError, match="A range test works with one optimizer"):
        Tuner(quiet_trainer()).lr_find(Two(), boring_batches(2))
    with pytest.raises(ValueError, match=r"0 < min_lr < max_lr .*Received: min_lr=1, max_lr=0.1"):
        LearningRateFinder(min_lr=1, max_lr=0.1)
    with pytest.raises(ValueError, match=r"max_lr < infinity .*Received: .*max_lr=inf"):
        LearningRateFinder(max_lr=float("inf"))
    with pytest.raises(ValueError, match=r"'exponential' or 'linear'. Received: 'cubic'"):
        LearningRateFinder(mode="cubic")


def test_evaluation_starts_no_search():
    finders = LearningRateFinder(), BatchSizeFinder()
    quiet_trainer(callbacks=list(finders)).validate(BoringModule(), boring_batches(2), verbose=False)
    assert finders[0].optimal_lr is finders[1].optimal_batch_size is None


def test_fast_dev_run_starts_no_search(caplog):
    class Once(Sized):
        def train_dataloader(self):
            assert self.opened == 1
            return super().train_dataloader()

    module = BoringModule()
    trainer = quiet_trainer(fast_dev_run=True, callbacks=[LearningRateFinder(), BatchSizeFinder()])
    trainer.fit(module, datamodule=Once())
    assert module.learning_rate == 0.1
    assert "The learning rate finder does nothing with fast_dev_run" in caplog.text
    assert "The batch size finder does nothing with fast_dev_run" in caplog.text


# --- the batch size -----------------------------------------------------------------------------------------------


class Limited(BoringModule):
    """Runs out of memory with more than ``memory`` rows in a batch; ``tried`` has the sizes of all batches."""

    def __init__(self, memory=10**9):
        super().__init__()
        self.memory = memory
        self.tried = []

    def on_train_batch_start(self, batch, batch_idx):
        rows = len(batch["x"])
        self.tried.append(rows)
        if rows > self.memory:
            raise RuntimeError(f"RESOURCE_EXHAUSTED: Out of memory while trying to allocate {rows} rows.")


@pytest.mark.parametrize(
    ("memory", "arguments", "size", "tried"),
    [
        (9, {}, 8, [2, 4, 8, 16]),
        (10**9, {"init_val": 32}, 64, [32, 64]),  # one batch holds all rows
        (20, {"init_val": 40}, 20, [40, 20]),
        (19, {"mode": "binsearch", "init_val": 16, "margin": 0.1}, 17, [16, 32, 24, 20, 18, 19]),
        (10**9, {"max_val": 8, "init_val": 4}, 8, [4, 8]),
        (10**9, {"max_trials": 1}, 2, [2]),
    ],
)
def test_batch_sizes(memory, arguments, size, tried):
    module, data = Limited(memory), Sized()
    before = weights_of(module)
    assert Tuner(quiet_trainer()).scale_batch_size(module, data, **arguments) == size
    assert data.batch_size == data.hparams.batch_size == size
    assert list(dict.fromkeys(module.tried)) == tried
    for name, array in weights_of(module).items():
        np.testing.assert_array_equal(before[name], array)


def test_real_out_of_memory_error():
    class Huge(BoringModule):
        def training_step(self, batch, batch_idx):
            loss = self.error(batch)
            if batch["x"].shape[0] > 4:  # at least 256 TB of float32, more than any system has
                loss += 0 * ops.sort(ops.tile(ops.reshape(batch["x"], (-1,)), 2 * 10**12))[-1]
            return loss

    module, data = Huge(), Sized()
    before = weights_of(module)
    assert Tuner(quiet_trainer()).scale_batch_size(module, data, init_val=4) == 4
    for name, array in weights_of(module).items():
        np.testing.assert_array_equal(before[name], array)


@pytest.mark.parametrize(("limit", "batches"), [(None, 4), (1, 1)])
def test_batch_size_finder_in_a_fit(limit, batches):
    module, data, finder = Limited(20), Sized(), BatchSizeFinder(init_val=8)
    trainer = quiet_trainer(callbacks=finder, limit_train_batches=limit)
    trainer.fit(module, datamodule=data)
    assert finder.optimal_batch_size == data.batch_size == 16
    assert trainer.num_training_batches == trainer.global_step == batches


def test_batch_size_found_in_a_hook_of_a_fit_is_that_of_the_following_epochs():
    class AtEpoch0(BatchSizeFinder):
        def setup(self, trainer, module, stage):
            """Do not search here."""

        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 0:
                self.scale_batch_size(trainer, module)

    def note(trainer, module, outputs, batch, batch_idx):
        rows.append((trainer.current_epoch, len(batch["x"])))

    rows, data = [], Sized(rows=32)
    callbacks = [AtEpoch0(init_val=4, max_val=16), Lambdas(on_train_batch_end=note)]
    quiet_trainer(max_epochs=3, callbacks=callbacks).fit(BoringModule(), datamodule=data)
    assert rows == [(0, 8)] * 4 + [(1, 16)] * 2 + [(2, 16)] * 2


def test_batch_size_attribute_of_the_module():
    class Own(Limited):
        batch_size = 4

        def train_dataloader(self):
            return boring_dataset(rows=32, batch_size=self.batch_size)

    module = Own(9)
    assert Tuner(quiet_trainer()).scale_batch_size(module) == module.batch_size == 8


def test_batch_size_of_both_module_and_datamodule():
    class Knows(Limited):
        batch_size = 4  # as a hyperparameter of a module in Lightning

    module, data = Knows(20), Sized()
    assert Tuner(quiet_trainer()).scale_batch_size(module, data) == 16
    assert module.batch_size == data.batch_size == data.hparams.batch_size == 16


def test_errors_of_the_batch_size_finder():
    with pytest.raises(ValueError, match=r"needs a data pipeline that it can build again .* pass a datamodule"):
        quiet_trainer(callbacks=BatchSizeFinder()).fit(BoringModule(), boring_batches(2))
    with pytest.raises(ValueError, match="sets the attribute 'rows_each', but BoringModule or Sized has none"):
        Tuner(quiet_trainer()).scale_batch_size(BoringModule(), Sized(), batch_arg_name="rows_each")
    with pytest.raises(MemoryError, match="out of memory even with batch_size=1") as raised:
        quiet_trainer(callbacks=BatchSizeFinder()).fit(Limited(0), datamodule=(data := Sized()))
    assert data.batch_size == 8
    assert not hasattr(raised.value, "__notes__"), "it has said all"

    class Fails(BoringModule):
        def on_train_start(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # other errors are not mistaken for a lack of memory
        Tuner(quiet_trainer()).scale_batch_size(Fails(), Sized())
    with pytest.raises(ValueError, match=r"'power' or 'binsearch'. Received: 'guess'"):
        BatchSizeFinder(mode="guess")
    with pytest.raises(ValueError, match=r"max_val >= init_val. Received: .*init_val=16, .*max_val=8"):
        BatchSizeFinder(init_val=16, max_val=8)


@pytest.mark.parametrize("size", [4, None])
def test_out_of_memory_error_in_a_fit_has_advice(size):
    source = {"train_dataloaders": boring_batches(2)} if size is None else {"datamodule": Sized(size)}
    said = "" if size is None else f" with batches of {size}"
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED") as raised:
        quiet_trainer().fit(Limited(0), **source)
    (note,) = raised.value.__notes__
    assert note.startswith(f"Out of memory{said}. Use a smaller batch_size (accumulate_grad_batches can keep")


def test_recognised_out_of_memory_errors():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating 9 bytes."))
    outer = RuntimeError("Array has been deleted")
    outer.__context__ = RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    assert is_out_of_memory(outer)
    outer.__suppress_context__ = True  # raised from None: the context does not count
    assert not is_out_of_memory(outer)
    assert not is_out_of_memory(RuntimeError("no such room"))
