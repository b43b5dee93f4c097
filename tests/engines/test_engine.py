"""What every engine guarantees: few traces, a state of its own, logged values that stay on the device."""

import gc
import weakref
from contextlib import nullcontext
from itertools import pairwise

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, traces, weights_of
from keras import ops

import kgenre
from kgenre.checkpoints import read_checkpoint
from kgenre.engines import base_engine, built_module
from kgenre.engines.engine import create_engine
from kgenre.engines.step_options import StepOptions
from kgenre.loggers import InMemoryLogger

KERNEL = "model.layers.0.kernel"


def built_engine(module, batch, **options):
    """Return a built engine, and the batch in the form that it takes."""
    engine = create_engine(StepOptions(**options))
    engine.build(module, {".*": module.configure_optimizers()}, {"train": batch})
    return engine, next(iter(engine.prefetch([batch])))


# --- memory of a process that trains repeatedly ---------------------------------------------------------------


def test_fit_leaves_nothing_in_memory():
    def fit():
        trainer = quiet_trainer(gradient_clip_val=1.0)
        trainer.fit(BoringModule(dropout=0.1), boring_batches(2), boring_batches(1))
        return [weakref.ref(thing) for thing in (trainer, trainer.engine, trainer.module, trainer.optimizers[0])]

    def graphs():
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    fit()
    before = graphs()
    things = fit()
    assert graphs() == before
    assert [thing() for thing in things] == [None] * 4


@pytest.mark.parametrize(("runs", "limit"), [(1, 11), (2, 23), (2, 24)])
def test_large_replaced_runs_are_freed_for_the_next(monkeypatch, runs, limit):
    def fit():
        trainer = quiet_trainer()
        trainer.fit(BoringModule(), boring_batches(1))
        return weakref.ref(trainer)

    gc.collect()
    monkeypatch.setattr("kgenre.engines.replaced_runs._engines", weakref.WeakSet())
    monkeypatch.setattr("kgenre.engines.replaced_runs._MANY", limit)
    gc.disable()
    try:
        first, *_ = [fit() for _ in range(runs)]
        assert first() is not None
        fit()
        assert (first() is None) == (12 * runs > limit)  # kernel and bias have 10 values, the optimizer 2
    finally:
        gc.enable()


# --- traces -----------------------------------------------------------------------------------------------------


def test_one_trace_per_fit_or_evaluation():
    trainer = quiet_trainer(max_epochs=5)
    trainer.fit(BoringModule(), boring_batches(4), boring_batches(3))
    assert [trainer.engine.traces[stage] for stage in ("train", "validation")] == [traces(1)] * 2
    trainer.test(dataloaders=boring_batches(2), verbose=False)
    trainer.test(dataloaders=boring_batches(2), verbose=False)
    trainer.predict(dataloaders=boring_batches(2))
    expected = {"train": 1, "validation": 1, "test": 2, "predict": 1}
    assert trainer.engine.traces == {stage: traces(count) for stage, count in expected.items() if traces(1)}


def test_second_shape_is_traced_once():
    ragged = [*boring_batches(3, rows=8), *boring_batches(1, rows=5)]
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(BoringModule(), ragged, ragged)
    assert [trainer.engine.traces[stage] for stage in ("train", "validation")] == [traces(2)] * 2


@pytest.mark.parametrize("lengths", [4, 3])
def test_many_shapes_of_batches_are_warned_about_once(lengths, monkeypatch, caplog):
    monkeypatch.setattr(built_module, "MANY_SHAPES", 4)
    rows = boring_batches(1, rows=lengths)[0]
    batches = [{name: array[:n] for name, array in rows.items()} for n in range(1, lengths + 1)]
    quiet_trainer(max_epochs=2, steps_per_execution=1).fit(BoringModule(), [*batches, *batches])
    said = [record.getMessage() for record in caplog.records if "shapes" in record.getMessage()]
    assert len(said) == (lengths == traces(4))
    assert all(text.startswith("training_step was compiled for 4 shapes of batches") for text in said)
    assert all("the newest: (4, 4), (4, 2). Pad" in text for text in said)


def test_accumulation_has_one_more_trace():
    trainer = quiet_trainer(max_epochs=3, accumulate_grad_batches=2)
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.engine.traces["train"] == traces(2)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX binds arrays to devices")
@pytest.mark.parametrize("arguments", [{}, {"accelerator": "cpu"}])
def test_hooks_and_devices_cause_no_recompilation(arguments):
    def shrink(trainer, module):
        module.model.layers[0].kernel.assign(module.model.layers[0].kernel * 0.5)
        trainer.set_learning_rate(0.05)

    callbacks = Lambdas(on_train_epoch_start=shrink)
    trainer = quiet_trainer(max_epochs=3, accumulate_grad_batches=2, callbacks=callbacks, **arguments)
    trainer.fit(BoringModule(), boring_batches(4), boring_batches(3))
    compiled = trainer.engine._train._cache_size(), trainer.engine._eval._cache_size()
    assert compiled == (2, 1), "with and without an update; validation"


def test_changing_weights_in_hooks_does_not_retrace():
    def shrink(trainer, module):
        module.model.layers[0].kernel.assign(module.model.layers[0].kernel * 0.5)

    trainer = quiet_trainer(max_epochs=3, callbacks=Lambdas(on_train_epoch_start=shrink))
    trainer.fit(BoringModule(), boring_batches())
    assert trainer.engine.traces["train"] == traces(1)


def test_variable_created_from_a_number_does_not_retrace():
    class Scales(BoringModule):
        def __init__(self):
            super().__init__()
            self.scale, self.mean = keras.Variable(1.0), keras.Variable(0.0, trainable=False)

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.mean.assign(0.9 * self.mean + 0.1 * loss)
            return loss * self.scale

    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(Scales(), boring_batches(), boring_batches(1))
    assert [trainer.engine.traces[stage] for stage in ("train", "validation")] == [traces(1)] * 2


def test_numbers_assigned_in_a_step_do_not_retrace():
    class Counts(BoringModule):
        def __init__(self):
            super().__init__()
            self.large, self.seen = (keras.Variable(0.0, trainable=False) for _ in range(2))

        def training_step(self, batch, batch_idx):
            loss = self.error(batch, training=True)
            self.large.assign(ops.where(loss > 1, 1.0, 0.0))
            return loss

        def validation_step(self, batch, batch_idx):
            self.seen.assign(ops.where(batch_idx > 0, 1.0, 0.0))

    module, trainer = Counts(), quiet_trainer(max_epochs=3)
    trainer.fit(module, boring_batches(4), boring_batches(2))
    assert [trainer.engine.traces[stage] for stage in ("train", "validation")] == [traces(1)] * 2
    assert float(module.seen) == 1


# --- who owns the state -----------------------------------------------------------------------------------------


class Interrupts(Exception):
    """Raised by a hook on purpose."""


def test_stage_that_is_added_may_have_layers_of_its_own():
    class Judged(BoringModule):
        def __init__(self):
            super().__init__()
            self.judge = keras.layers.Dense(1, kernel_initializer="ones")

        def validation_step(self, batch, batch_idx):
            self.log("val/judged", ops.mean(self.judge(self.model(batch["x"]))))

    raw = boring_batches(1)[0]
    engine, batch = built_engine(Judged(), raw)
    engine.train_step(batch)
    engine.add_stage("validation", raw)
    assert "judge.kernel" in engine.state_dict()
    engine.eval_step("validation", batch)
    assert engine.epoch_logs("validation").keys() == {"val/judged"}


def test_weights_are_up_to_date_in_hooks():
    seen = []

    def look(trainer, module):
        np.testing.assert_array_equal(weights_of(module)[KERNEL], trainer.engine.state_dict()[KERNEL])
        seen.append(weights_of(module)[KERNEL])

    hooks = ("on_train_epoch_start", "on_train_epoch_end", "on_train_end", "on_fit_end")
    batches = boring_batches(2)
    quiet_trainer(max_epochs=2, callbacks=Lambdas(**dict.fromkeys(hooks, look))).fit(BoringModule(), batches)
    assert len(seen) == 6
    for epochs, kernels in ((0, seen[:1]), (1, seen[1:3]), (2, seen[3:])):
        for kernel in kernels:
            np.testing.assert_allclose(kernel, descend(batches * epochs)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends' steps change the variables in place")
@pytest.mark.parametrize(("accumulate", "twice"), [(1, False), (2, False), (1, True)])
def test_interrupted_step_leaves_the_last_synced_weights(accumulate, twice, caplog, tmp_path):
    """Ctrl-C (or running out of memory) ends the step after it consumed the state, before it returns a new one.

    A second Ctrl-C ends the restoring of the weights.
    """

    def break_off(trainer, module):
        trainer.save_checkpoint(tmp_path / "start")
        engine = trainer.engine
        whole, restore = engine._train, engine._divide

        def step(*arguments, **named):
            result = whole(*arguments, **named)
            if trainer.current_epoch == 1 and trainer.batch_idx == 2:
                if twice:
                    engine._divide = broken_off
                raise KeyboardInterrupt
            return result

        def broken_off():
            engine._divide = restore
            raise KeyboardInterrupt

        engine._train = step

    module, batches = BoringModule(), boring_batches(4)
    trainer = quiet_trainer(
        max_epochs=2, accumulate_grad_batches=accumulate, callbacks=Lambdas(on_train_start=break_off)
    )
    with pytest.raises(KeyboardInterrupt) if twice else nullcontext():
        trainer.fit(module, batches, batches)
    assert trainer.interrupted
    assert "The interrupted step destroyed JAX's current weights" in caplog.text
    kernel = weights_of(module)[KERNEL]
    assert trainer.validate(dataloaders=batches, verbose=False)[0].keys() == {"val/loss"}
    with pytest.raises(kgenre.TrainerError, match=r"has no weights of the last steps.*ckpt_path='last'"):
        trainer.save_checkpoint(tmp_path / "here")
    groups = [batches[i : i + accumulate] for i in range(0, 4, accumulate)]
    updates = [{name: np.concatenate([b[name] for b in group]) for name in ("x", "y")} for group in groups]
    np.testing.assert_allclose(kernel, descend(updates)[0], rtol=1e-5, atol=1e-6)
    trainer.validate(dataloaders=batches, verbose=False, ckpt_path=tmp_path / "start")
    loaded = read_checkpoint(trainer.save_checkpoint(tmp_path / "loaded"))  # nothing is lacking: others were loaded
    np.testing.assert_array_equal(loaded.weights[KERNEL], read_checkpoint(tmp_path / "start").weights[KERNEL])


def test_failed_initializer_does_not_affect_later_fits():
    """As after a cell with a matrix of word vectors of the wrong size: Keras keeps the variables of a failed build."""

    class Lazy(BoringModule):
        def __init__(self, inputs):
            super().__init__()
            given = keras.initializers.Constant(np.ones((inputs, 2), "float32"))
            self.model = keras.Sequential([keras.layers.Dense(2, kernel_initializer=given)])

    with pytest.raises((TypeError, ValueError, RuntimeError), match=r"[sS]hape|[dD]imension"):
        quiet_trainer().fit(Lazy(3), boring_batches(1))
    quiet_trainer().fit(Lazy(4), boring_batches(1))


@pytest.mark.parametrize("part", ["_divide", "start_epoch", "build_module"])
def test_ctrl_c_while_the_engine_is_built(monkeypatch, part):
    def interrupt(*arguments, **named):
        raise KeyboardInterrupt

    trainer, module, batches = quiet_trainer(), BoringModule(), boring_batches(2)
    home = base_engine if part == "build_module" else type(create_engine(StepOptions()))
    with monkeypatch.context() as patched:
        patched.setattr(home, part, interrupt)
        trainer.fit(module, batches)
        assert trainer.interrupted
    trainer.fit(module, batches)
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("error", "hook", "steps"),
    [
        (Interrupts, "on_train_batch_start", 2),
        (KeyboardInterrupt, "on_train_batch_end", 2),
        (KeyboardInterrupt, "on_train_epoch_end", 4),
    ],
)
def test_weights_are_up_to_date_after_an_exception(error, hook, steps):
    def interrupt(trainer, module, *arguments):
        if trainer.global_step >= 2:
            raise error

    def look(trainer, module, exception):
        seen.append(weights_of(module)[KERNEL])

    seen, module, batches = [], BoringModule(), boring_batches(4)
    trainer = quiet_trainer(max_epochs=2, callbacks=Lambdas(**{hook: interrupt}, on_exception=look))
    with pytest.raises(Interrupts) if error is Interrupts else nullcontext():
        trainer.fit(module, batches)
    assert trainer.interrupted == (error is KeyboardInterrupt)
    assert trainer.global_step == steps
    for kernel in (*seen, weights_of(module)[KERNEL]):
        np.testing.assert_allclose(kernel, descend(batches[:steps])[0], rtol=1e-5, atol=1e-6)
    assert len(seen) == 1
    assert module.model(batches[0]["x"]).shape == (8, 2)


def test_module_can_be_changed_after_a_fit():
    module = BoringModule()
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches())
    kernel = module.model.layers[0].kernel
    before = ops.convert_to_numpy(kernel)
    kernel.assign(before + 1)
    trainer.test(dataloaders=boring_batches(1), verbose=False)
    np.testing.assert_array_equal(kernel, before + 1)


@pytest.mark.parametrize("again", ["fit", "test"])
def test_weights_set_between_two_runs_are_used(again):
    module = BoringModule(learning_rate=1e-6)
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches())
    module.model.layers[0].kernel.assign(np.full((4, 2), 3.0))
    if again == "fit":
        trainer.fit(module, boring_batches())
    else:
        trainer.test(dataloaders=boring_batches(), verbose=False)
    np.testing.assert_allclose(weights_of(module)[KERNEL], 3.0, atol=1e-3)


def test_weights_assigned_in_hooks_are_kept():
    hooks = ["on_fit_start", "on_train_start", "on_train_epoch_start", "on_validation_start", "on_validation_epoch_end"]
    hooks += ["on_validation_end", "on_train_epoch_end", "on_train_end", "on_fit_end"]

    def adding(amount):
        def add(trainer, module):
            bias = module.model.layers[0].bias
            bias.assign(bias + amount)

        return add

    module = BoringModule(learning_rate=0.0)
    callback = Lambdas(**{hook: adding(2.0**i) for i, hook in enumerate(hooks)})
    quiet_trainer(callbacks=callback, num_sanity_val_steps=0).fit(module, boring_batches(1), boring_batches(1))
    bits = int(weights_of(module)["model.layers.0.bias"][0])
    assert [hook for i, hook in enumerate(hooks) if not bits & 2**i] == [], "the assignments in these hooks are lost"


class Follower(BoringModule):
    """Has a target network, which is doubled before each step and moves halfway to the model after it."""

    def __init__(self):
        super().__init__()
        self.target = keras.Variable(np.zeros((4, 2), "float32"), trainable=False)

    def training_step(self, batch, batch_idx):
        self.log("target", ops.sum(self.target))
        return super().training_step(batch, batch_idx)

    def on_train_batch_start(self, batch, batch_idx):
        self.target.assign(2 * self.target)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.target.assign((self.target + self.model.layers[0].kernel) / 2)


def test_batch_hooks_can_read_and_assign_weights():
    module, logger, batches = Follower(), InMemoryLogger(), boring_batches(4)
    quiet_trainer(logger=logger, log_every_n_steps=1).fit(module, batches)
    target, seen = np.zeros((4, 2)), []
    for count in range(1, 5):
        seen.append(2 * target.sum())
        target = (2 * target + descend(batches[:count])[0]) / 2
    np.testing.assert_allclose(weights_of(module)["target"], target, rtol=1e-5)
    np.testing.assert_allclose([value for _, value in logger.history("target")], seen, rtol=1e-5)


def test_weights_assigned_in_a_validation_step_are_kept():
    class Assigns(BoringModule):
        def validation_step(self, batch, batch_idx):
            self.model.layers[0].bias.assign(self.model.layers[0].bias + 1.0)

    module = Assigns()
    quiet_trainer().validate(module, boring_batches(3), verbose=False)
    np.testing.assert_array_equal(weights_of(module)["model.layers.0.bias"], [3.0, 3.0])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="elsewhere the state is the Keras variables")
@pytest.mark.parametrize("large", [False, True])
def test_sync_replaces_only_changed_values(monkeypatch, large):
    monkeypatch.setattr("kgenre.engines.jax_state._LARGE", 0 if large else 2**20)
    module = BoringModule()
    engine, batch = built_engine(module, boring_batches(1)[0])
    held = [*engine.built.variables.values(), *engine.built.optimizer_variables.values()]

    def after_sync():
        engine.sync()
        return [variable.value for variable in held]

    began = after_sync()
    engine.train_step(batch)
    moved = after_sync()
    assert sum(one is not other for one, other in zip(began, moved, strict=True)) == len(held)
    assert all(one is other for one, other in zip(moved, after_sync(), strict=True))
    module.model.layers[0].bias.assign([9.0, 9.0])
    assert after_sync()[1].tolist() == [9.0, 9.0] == engine.state_dict()["model.layers.0.bias"].tolist()


def test_weights_assigned_before_validation_are_used():
    def assign(trainer, module):
        module.model.layers[0].kernel.assign(np.zeros((4, 2)))
        module.model.layers[0].bias.assign(np.zeros(2))

    batches = boring_batches(1)
    trainer = quiet_trainer(callbacks=Lambdas(on_validation_start=assign))
    trainer.fit(BoringModule(), batches, batches)
    assert trainer.callback_metrics["val/loss"] == pytest.approx(np.mean(batches[0]["y"] ** 2), rel=1e-5)


def test_state_dict_round_trip():
    module, batch = BoringModule(), boring_batches(1)[0]
    engine, batch = built_engine(module, batch)
    engine.train_step(batch)
    state = engine.state_dict()
    engine.train_step(batch)
    after = engine.state_dict()
    engine.load_state_dict(state)
    engine.train_step(batch)
    for name, array in engine.state_dict().items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)
    assert not np.array_equal(state[KERNEL], after[KERNEL])


def test_get_and_set_one_variable():
    module, batch = BoringModule(learning_rate=0.5), boring_batches(1)[0]
    engine, batch = built_engine(module, batch)
    rate = engine.built.optimizers[0]._learning_rate
    assert engine.get_variable(rate) == pytest.approx(0.5)
    engine.set_variable(rate, 0.0)
    before = engine.state_dict()[KERNEL]
    engine.train_step(batch)
    assert engine.get_variable(rate) == 0.0
    np.testing.assert_array_equal(engine.state_dict()[KERNEL], before)


# --- freezing ---------------------------------------------------------------------------------------------------


class TwoLayers(BoringModule):
    def __init__(self):
        super().__init__()
        self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])


def test_freezing_and_unfreezing_in_hooks():
    kernels = []

    def at_epoch_start(trainer, module):
        module.model.layers[0].trainable = trainer.current_epoch not in (1, 2)
        kernels.append(weights_of(module))

    trainer = quiet_trainer(max_epochs=4, callbacks=Lambdas(on_train_epoch_start=at_epoch_start))
    module = TwoLayers()
    trainer.fit(module, boring_batches())
    kernels.append(weights_of(module))
    first = [not np.array_equal(a[KERNEL], b[KERNEL]) for a, b in pairwise(kernels)]
    second = "model.layers.1.kernel"
    assert first == [True, False, False, True]
    assert all(not np.array_equal(a[second], b[second]) for a, b in pairwise(kernels))
    assert trainer.engine.traces["train"] == traces(2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_epoch_with_every_layer_frozen(accumulate):
    def at_epoch_start(trainer, module):
        module.model.layers[0].trainable = trainer.current_epoch != 1
        kernels.append(weights_of(module)[KERNEL])

    kernels = []
    flags = {
        "max_epochs": 3,
        "accumulate_grad_batches": accumulate,
        "callbacks": Lambdas(on_train_epoch_start=at_epoch_start),
    }
    quiet_trainer(**flags).fit(BoringModule(), boring_batches())
    assert [np.array_equal(a, b) for a, b in pairwise(kernels)] == [False, True]


def test_frozen_normalization_without_weights_keeps_its_averages():
    class Normalizes(BoringModule):
        def __init__(self):
            super().__init__()
            self.norm = keras.layers.BatchNormalization(center=False, scale=False)

        def error(self, batch, training=False):
            return super().error({"x": self.norm(batch["x"], training=training), "y": batch["y"]})

        def on_train_epoch_start(self):
            self.norm.trainable = self.current_epoch == 0
            means.append(weights_of(self)["norm.moving_mean"])

    means, module = [], Normalizes()
    quiet_trainer(max_epochs=3).fit(module, boring_batches())
    moved = [not np.array_equal(a, b) for a, b in pairwise([*means, weights_of(module)["norm.moving_mean"]])]
    assert moved == [True, False, False]


def test_alternating_frozen_layers_compile_once_each(recwarn):
    class Alternates(BoringModule):
        def __init__(self):
            super().__init__()
            self.other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="ones")])
            self.is_first = True

        def on_train_batch_start(self, batch, batch_idx):
            self.is_first = batch_idx % 2 == 0
            self.model.trainable, self.other.trainable = self.is_first, not self.is_first

        def on_train_epoch_start(self):
            self.on_train_batch_start(None, self.current_epoch)

        def training_step(self, batch, batch_idx):
            network = self.model if self.is_first else self.other
            return ops.mean((network(batch["x"]) - batch["y"]) ** 2)

        def configure_optimizers(self):
            return {name: keras.optimizers.SGD(0.1) for name in ("model.*", "other.*")}

    batches = boring_batches(4)
    trainer, module = quiet_trainer(max_epochs=2), Alternates()
    trainer.fit(module, batches)
    assert trainer.engine.traces["train"] == traces(2)
    assert not [warning for warning in recwarn if "self.is_first" in str(warning.message)]
    kernel, _ = descend(batches[::2] * 2)
    np.testing.assert_allclose(weights_of(module)[KERNEL], kernel, rtol=1e-5)
    kernel, _ = descend(batches[1::2] * 2, kernel=np.ones((4, 2), "float32"))
    np.testing.assert_allclose(weights_of(module)["other.layers.0.kernel"], kernel, rtol=1e-5)


def test_freezing_keeps_the_optimizer_state():
    """Freezing one layer must not reset the optimizer's state."""

    class Momentum(TwoLayers):
        def configure_optimizers(self):
            return keras.optimizers.SGD(0.01, momentum=0.9)

    def freeze(trainer, module):
        if trainer.current_epoch == 1:
            before = trainer.engine.state_dict()
            module.model.layers[0].trainable = False
            trainer.engine.pull()
            after = trainer.engine.state_dict()
            for name in before:
                np.testing.assert_array_equal(before[name], after[name], err_msg=name)

    trainer = quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_epoch_start=freeze))
    trainer.fit(Momentum(), boring_batches())
    momenta = {n: v for n, v in trainer.engine.state_dict().items() if "momentums" in n}
    assert len(momenta) == 4
    assert all(np.any(v != 0) for v in momenta.values())


def test_weights_assigned_together_with_freezing_are_kept():
    def freeze_and_assign(trainer, module):
        if trainer.current_epoch == 1:
            module.model.layers[0].bias.trainable = False
            module.model.layers[0].kernel.assign(np.ones((4, 2)))

    module, batches = BoringModule(), boring_batches(2)
    batches = [{"x": np.zeros_like(batch["x"]), "y": batch["y"]} for batch in batches]  # a gradient of 0
    quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_epoch_start=freeze_and_assign)).fit(module, batches)
    np.testing.assert_array_equal(weights_of(module)[KERNEL], 1.0)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="nothing is compiled")
def test_few_programs_for_earlier_sets_of_trained_layers_are_kept(monkeypatch):
    monkeypatch.setattr(f"kgenre.engines.{keras.backend.backend()}.KEPT_DIVISIONS", 1)

    def freeze(trainer, module):
        module.model.layers[0].bias.trainable = trainer.current_epoch != 1

    trainer = quiet_trainer(max_epochs=3, callbacks=Lambdas(on_train_epoch_start=freeze))
    trainer.fit(BoringModule(), boring_batches(1))
    assert len(trainer.engine._compiled) == 1


def test_initially_frozen_layer_cannot_be_unfrozen_in_a_fit():
    def thaw(trainer, module):
        module.model.layers[0].trainable = True

    module = TwoLayers()
    module.model.layers[0].trainable = False
    with pytest.raises(ValueError, match=r"model.layers.0.kernel was frozen when training began"):
        quiet_trainer(callbacks=Lambdas(on_train_epoch_start=thaw)).fit(module, boring_batches(1))
    # ... but between two fits it can.
    before = weights_of(module)
    quiet_trainer().fit(module, boring_batches(1))
    assert not np.array_equal(before[KERNEL], weights_of(module)[KERNEL])


def test_nothing_to_train_is_an_error():
    module = BoringModule()
    module.freeze()
    with pytest.raises(ValueError, match="no trainable variables"):
        quiet_trainer().fit(module, boring_batches())


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras itself refuses to create one")
def test_variable_that_cannot_be_trained_is_named():
    class Counts(BoringModule):
        def __init__(self):
            super().__init__()
            self.count = keras.Variable(0, dtype="int32")

    with pytest.raises(ValueError, match=r"self.count is a trainable variable of int32.*trainable=False"):
        quiet_trainer().fit(Counts(), boring_batches())
    quiet_trainer().test(Counts(), boring_batches(), verbose=False)


# --- transfers --------------------------------------------------------------------------------------------------


def test_steps_transfer_nothing_to_the_host():
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX can forbid transfers")
    import jax

    batch = jax.device_put(boring_batches(1)[0])
    engine, _ = built_engine(BoringModule(), batch)
    engine.train_step(batch)
    with jax.transfer_guard("disallow"), jax.transfer_guard_device_to_host("disallow"):
        for _ in range(3):
            outputs, values = engine.train_step(batch)
    assert all(isinstance(value, jax.Array) for value in (outputs["loss"], values))
    assert np.isfinite(engine.to_host(values)).all()


def test_outputs_are_what_the_step_returned():
    class Dict(BoringModule):
        def training_step(self, batch, batch_idx):
            prediction = self.model(batch["x"])
            return {"loss": ops.mean(prediction**2), "prediction": prediction, "batch_idx": batch_idx}

    module, batch = Dict(), boring_batches(1)[0]
    engine, batch = built_engine(module, batch)
    engine.start_epoch("train", first_batch=7)
    outputs = engine.to_host(engine.train_step(batch)[0])
    assert set(outputs) == {"loss", "prediction", "batch_idx"}
    assert outputs["prediction"].shape == (8, 2)
    assert outputs["loss"] == pytest.approx(np.mean(outputs["prediction"] ** 2), rel=1e-5)
    assert outputs["batch_idx"] == 7


def test_bf16_mixed_computes_in_bfloat16_with_float32_weights():
    from kgenre import TrainerError

    class Late(BoringModule):
        dtypes = ()

        def __init__(self):
            self.learning_rate = 0.1

        def configure_model(self):
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

        def training_step(self, batch, batch_idx):
            prediction = self.model(batch["x"])
            self.dtypes = [prediction.dtype]
            return ops.mean((ops.cast(prediction, "float32") - batch["y"]) ** 2)

    module = Late()
    trainer = quiet_trainer(precision="bf16-mixed")
    trainer.fit(module, boring_batches())
    assert keras.backend.standardize_dtype(module.dtypes[0]) == "bfloat16"
    assert {str(array.dtype) for array in trainer.engine.state_dict().values()} <= {"float32", "int32", "int64"}
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(TrainerError, match="was set too late"):
        quiet_trainer(precision="bf16-mixed").fit(BoringModule(), boring_batches())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow's tensors are handed on as they are")
def test_arrays_on_the_device_are_not_fetched():
    import jax

    array = jax.numpy.ones(3)
    (batch,) = create_engine(StepOptions()).prefetch([{"x": array, "y": np.ones(3)}])
    assert batch["x"] is array


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of torch")
def test_tensors_of_a_gpu_are_not_pinned(monkeypatch):
    """Only tensors of the CPU can be pinned. Here a meta tensor stands for one of a GPU."""
    import torch

    engine, moved = create_engine(StepOptions()), []
    engine._device = torch.device("cuda")
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *given, **named: moved.append(tensor) or tensor)
    tensor = torch.empty(2, device="meta")
    (batch,) = engine.prefetch([tensor])
    assert batch is tensor is moved[-1]
