"""The order of all hooks, written out as Lightning documents it.

https://lightning.ai/docs/pytorch/stable/common/lightning_module.html#hooks. Differences from Lightning:

- Callbacks run before the module, but those that monitor a logged value (early stopping) run after it in
  ``on_train_epoch_end`` and ``on_validation_end``, and those that save (checkpoints) run after it in every hook.
- There are no ``on_before_backward``, ``optimizer_step`` and the like: they would run inside the compiled step.
  Defining one is an error.
- ``setup`` runs for the datamodule, then for callbacks, then for the module. ``configure_model``, the dataloaders and
  ``configure_optimizers`` follow in this order.
- ``teardown`` runs for the datamodule, then for callbacks, then for the module.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, weights_of

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import ModelSummary, ProgressBar
from kgenre.callbacks.callback import HOOKS
from kgenre.training.module import Module

MODULE_ONLY = ["prepare_data", "configure_model", "configure_optimizers", "configure_callbacks"]
DATA = ["prepare_data", "setup", "teardown", "train_dataloader", "val_dataloader", "test_dataloader"]
DATA += ["predict_dataloader", "save_artifacts", "state_dict", "load_state_dict", "on_exception"]


def noting(base, who, names, calls):
    """A subclass of ``base`` whose methods ``names`` add their call to ``calls`` and then do what ``base``'s do."""

    def make(name):
        def method(self, *arguments, **named):
            calls.append(f"{who}.{name}")
            return getattr(base, name)(self, *arguments, **named)

        return method

    return type(base.__name__, (base,), {name: make(name) for name in names})


class Data(kgenre.DataModule):
    def train_dataloader(self):
        return boring_batches(2)

    def val_dataloader(self):
        return boring_batches(1)

    test_dataloader = predict_dataloader = val_dataloader


@pytest.fixture
def noted():
    calls = []
    module = noting(BoringModule, "module", [*HOOKS, *MODULE_ONLY], calls)
    callback = noting(kgenre.Callback, "callback", [*HOOKS, "state_dict", "load_state_dict"], calls)
    data = noting(Data, "data", DATA, calls)
    return calls, module(), callback(), data()


def both(*names):
    return [f"{who}.{name}" for name in names for who in ("callback", "module")]


def evaluation(stage, batches=1):
    return [
        *both(f"on_{stage}_start", f"on_{stage}_epoch_start"),
        *both(f"on_{stage}_batch_start", f"on_{stage}_batch_end") * batches,
        *both(f"on_{stage}_epoch_end", f"on_{stage}_end"),
    ]


def prepared():
    return ["module.configure_callbacks", "data.prepare_data", "module.prepare_data", "data.setup", *both("setup")]


def training_batches(count):
    return both("on_train_batch_start", "on_train_batch_end") * count


def test_fit_with_sanity_check_and_validation(noted):
    calls, module, callback, data = noted
    quiet_trainer(max_epochs=2, callbacks=callback).fit(module, data)
    epoch = [
        *both("on_train_epoch_start"),
        *training_batches(2),
        *evaluation("validation"),
        *both("on_train_epoch_end"),
    ]
    assert calls == [
        *prepared(),
        "module.configure_model",
        "data.train_dataloader",
        "data.val_dataloader",
        "module.configure_optimizers",
        *both("on_fit_start", "on_sanity_check_start"),
        *evaluation("validation"),
        *both("on_sanity_check_end", "on_train_start"),
        *epoch * 2,
        *both("on_train_end", "on_fit_end"),
        "data.teardown",
        *both("teardown"),
    ]


def test_validation_inside_an_epoch(noted):
    calls, module, callback, data = noted
    quiet_trainer(callbacks=callback, val_check_interval=1, num_sanity_val_steps=0).fit(module, data)
    start = calls.index("callback.on_train_start")
    assert calls[start : calls.index("callback.on_train_end")] == [
        *both("on_train_start", "on_train_epoch_start"),
        *training_batches(1),
        *evaluation("validation"),
        *training_batches(1),
        *evaluation("validation"),
        *both("on_train_epoch_end"),
    ]


def test_the_readme_has_the_order_of_hooks():
    """Its pseudocode is run, and must call what a fit calls."""
    calls, code = [], (Path(kgenre.training.__file__).parent / "README.md").read_text(encoding="utf-8")
    (shown,) = [block for block in re.findall(r"```python\n(.*?)```", code, re.DOTALL) if "on_fit_start()" in block]
    of_module = [*HOOKS, *MODULE_ONLY]
    module = noting(BoringModule, "module", of_module, calls)
    trainer = quiet_trainer(max_epochs=2, val_check_interval=1, num_sanity_val_steps=1)
    trainer.fit(module(), boring_batches(2), boring_batches(3))
    written = []
    names = {name: lambda *, name=name: written.append(f"module.{name}") for name in of_module}
    names |= dict.fromkeys(("training_step", "validation_step"), lambda batch: None)
    names |= {"epochs": range(2), "training_batches": range(2)}
    names |= {"first_batches": range(1), "validation_batches": range(3)}
    names |= {"is_due_inside_the_epoch": itertools.cycle([True, False]).__next__, "is_due_at_its_end": lambda: True}
    exec(shown, names)
    assert written == calls
    assert len(shown.splitlines()) <= 25


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_evaluation(noted, stage):
    calls, module, callback, data = noted
    getattr(quiet_trainer(callbacks=callback), stage)(module, datamodule=data)
    loader = {"validate": "val"}.get(stage, stage)
    assert calls == [
        *prepared(),
        "module.configure_model",
        f"data.{loader}_dataloader",
        *evaluation({"validate": "validation"}.get(stage, stage)),
        "data.teardown",
        *both("teardown"),
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_hooks_after_an_exception(noted, error):
    calls, module, callback, data = noted

    def fail():
        raise error

    module.on_train_epoch_end = fail
    trainer = quiet_trainer(callbacks=callback)
    if error is KeyboardInterrupt:
        trainer.fit(module, data)
        assert trainer.interrupted
    else:
        with pytest.raises(error):
            trainer.fit(module, data)
        assert not trainer.interrupted
    tail = [
        "callback.on_train_epoch_end",
        *both("on_exception"),
        "data.on_exception",
        "data.teardown",
        *both("teardown"),
    ]
    assert calls[-len(tail) :] == tail


def test_saving_and_resuming(noted, tmp_path):
    calls, module, callback, data = noted
    trainer = quiet_trainer(max_epochs=1, callbacks=callback)
    trainer.fit(module, data)
    calls.clear()
    path = trainer.save_checkpoint(tmp_path / "checkpoint")
    assert calls == ["callback.state_dict", "data.state_dict", *both("on_save_checkpoint")]
    calls.clear()
    quiet_trainer(max_epochs=2, callbacks=callback).fit(module, data, ckpt_path=path)
    start = calls.index("callback.on_fit_start")
    assert calls[: start + 3] == [
        "module.configure_callbacks",
        "module.on_load_checkpoint",
        "data.load_state_dict",
        "data.prepare_data",
        "module.prepare_data",
        "data.setup",
        *both("setup"),
        "module.configure_model",
        "data.train_dataloader",
        "data.val_dataloader",
        "module.configure_optimizers",
        "callback.load_state_dict",
        "callback.on_load_checkpoint",
        *both("on_fit_start"),
        "callback.on_train_start",  # a resumed run skips the sanity check
    ]


def test_hooks_get_lightnings_arguments():
    seen = {}

    class Callback(kgenre.Callback):
        def setup(self, trainer, module, stage):
            seen["setup"] = stage

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            seen["start"] = (sorted(batch), batch_idx)

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen["end"] = (sorted(outputs), sorted(batch), batch_idx)

        def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen["validation"] = (outputs, batch_idx)

    trainer = quiet_trainer(callbacks=Callback())
    module = BoringModule()
    trainer.fit(module, boring_batches(3), boring_batches(2))
    assert seen == {
        "setup": "fit",
        "start": (["x", "y"], 2),
        "end": (["loss"], ["x", "y"], 2),
        "validation": (None, 1),
    }
    assert module.trainer is trainer


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end"])
def test_monitoring_callbacks_run_after_the_module(hook):
    order, module = [], BoringModule()

    def log():
        order.append(("module", None))
        module.log("late", 7.0)

    def look(who):
        return Lambdas(**{hook: lambda trainer, module: order.append((who, trainer.callback_metrics.get("late")))})

    monitor, plain = look("monitor"), look("plain")
    monitor.monitors = True
    setattr(module, hook, log)
    trainer = quiet_trainer(num_sanity_val_steps=0, callbacks=[monitor, plain])
    trainer.fit(module, boring_batches(1), boring_batches(1))
    assert order == [("plain", None), ("module", None), ("monitor", 7.0)]


def test_incidental_return_values_of_hooks_are_ignored():
    """A lambda returns the value of its expression, here the tensor that ``assign`` returns in Keras."""

    def halve(trainer, module, *arguments):
        return module.model.layers[0].kernel.assign(module.model.layers[0].kernel * 0.5)

    trainer = quiet_trainer(callbacks=Lambdas(on_train_batch_start=halve, on_train_epoch_end=halve))
    trainer.fit(BoringModule(), boring_batches(2))
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("on_after_backward", "configure_gradients"),
        ("optimizer_step", "configure_gradients"),
        ("on_before_optimizer_step", "configure_gradients"),
        ("on_after_batch_transfer", "the data pipeline or in the step"),
        ("validation_epoch_end", "write on_validation_epoch_end"),
        ("on_epoch_end", "write on_train_epoch_end"),
        ("training_step_end", "do it in the step"),
        ("on_validation_model_eval", "training=False to layers in the step"),
    ],
)
def test_unsupported_lightning_hooks_are_rejected(name, instead):
    module = type("Hopes", (BoringModule,), {name: lambda self, *arguments: None})()
    with pytest.raises(TrainerError, match=rf"Hopes.{name} would never be called: .*{instead}"):
        quiet_trainer().fit(module, boring_batches(1))
    callback = type("Hopes", (kgenre.Callback,), {name: lambda self, *arguments: None})()
    with pytest.raises(TrainerError, match=f"Hopes.{name} would never be called"):
        quiet_trainer(callbacks=callback).fit(BoringModule(), boring_batches(1))
    data = type("Hopes", (kgenre.DataModule,), {name: lambda self, *arguments: None})()
    with pytest.raises(TrainerError, match=f"Hopes.{name} would never be called"):
        quiet_trainer().fit(BoringModule(), data)


@pytest.mark.parametrize(("name", "instead"), [("init_train_tqdm", "not tqdm's"), ("get_metrics", "prog_bar=True")])
def test_methods_of_lightnings_progress_bars_are_rejected(name, instead):
    bar = type("Bar", (ProgressBar,), {name: lambda self, *arguments: None})()
    with pytest.raises(TrainerError, match=rf"Bar.{name} would never be called: .*{instead}"):
        quiet_trainer(callbacks=bar).fit(BoringModule(), boring_batches(1))
    module = type("Mine", (BoringModule,), {name: lambda self, *arguments: None})()
    quiet_trainer().fit(module, boring_batches(1))  # a method of the user's own


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("log", "module.log(name, value)"),
        ("log_dict", "module.log_dict"),
        ("total_train_batches", "num_training_batches"),
    ],
)
def test_lightning_names_of_callbacks_suggest_a_replacement(name, instead):
    with pytest.raises(AttributeError, match=rf"^ProgressBar has no attribute '{name}': .*{re.escape(instead)}"):
        getattr(ProgressBar(), name)
    with pytest.raises(AttributeError, match=r"^'ProgressBar' object has no attribute 'other'$"):
        _ = ProgressBar().other


def test_manual_optimization_is_rejected():
    module = BoringModule()
    module.automatic_optimization = False
    with pytest.raises(TrainerError, match=r"automatic_optimization=False: .* Return the loss"):
        quiet_trainer().fit(module, boring_batches(1))


def test_module_has_every_hook_of_a_callback():
    assert [name for name in HOOKS if not hasattr(Module, name)] == []


def test_configure_callbacks():
    class Counts(kgenre.Callback):
        def __init__(self):
            self.starts = itertools.count()

        def on_fit_start(self, trainer, module):
            next(self.starts)

    mine, modules = Counts(), Counts()

    class Configures(BoringModule):
        def configure_callbacks(self):
            return modules

    quiet_trainer().fit(Configures(), boring_batches(1))
    assert next(modules.starts) == 1
    quiet_trainer(callbacks=mine).fit(Configures(), boring_batches(1))
    assert (next(mine.starts), next(modules.starts)) == (1, 2)  # the Trainer's replaces the module's


def test_callbacks_may_change_between_runs():
    seen = []
    first, second = (Lambdas(on_train_start=lambda *_, name=name: seen.append(name)) for name in ("first", "second"))
    trainer = quiet_trainer(callbacks=first, enable_progress_bar=True)
    trainer.callbacks.append(second)
    trainer.fit(BoringModule(), boring_batches(1))
    trainer.callbacks.remove(first)
    own = ProgressBar()
    trainer.callbacks.append(own)
    trainer.fit(BoringModule(), boring_batches(1))
    assert seen == ["first", "second", "second"]
    assert trainer.callbacks == [second, own]


def test_callbacks_that_are_equal_are_different_ones():
    @dataclass
    class Counts(kgenre.Callback):
        every: int = 1

        def on_train_start(self, trainer, module):
            seen.append(self)

    seen, first, second = [], Counts(), Counts()
    trainer = quiet_trainer(callbacks=first)
    trainer.callbacks.append(second)
    trainer.fit(BoringModule(), boring_batches(1))
    trainer.callbacks[:] = [second]
    trainer.fit(BoringModule(), boring_batches(1))
    assert [callback is second for callback in seen] == [False, True, True]


def test_flags_may_be_set_between_runs():
    trainer = quiet_trainer()
    trainer.accumulate_grad_batches = 2
    module, batches = BoringModule(), boring_batches(2)
    trainer.fit(module, batches)
    whole = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    assert trainer.global_step == 1
    np.testing.assert_allclose(weights_of(module)["model.layers.0.kernel"], descend([whole])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", 1),
        ("limit_train_batches", 1),
        ("limit_val_batches", 1),
        ("accumulate_grad_batches", 2),
        ("gradient_clip_val", 0.1),
        ("val_check_interval", 1),
        ("precision", "bf16-mixed"),
    ],
)
def test_flags_that_a_fit_has_read_cannot_be_set_in_its_hooks(name, value):
    trainer = quiet_trainer(callbacks=Lambdas(on_train_epoch_end=lambda *_: setattr(trainer, name, value)))
    with pytest.raises(TrainerError, match=rf"^trainer\.{name} was set in a hook of trainer\.fit\(\)"):
        trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    setattr(trainer, name, value)
    assert getattr(trainer, name) == value


def test_flags_may_be_set_before_a_fit_reads_them():
    seen = []

    class Sets(BoringModule):
        def setup(self, stage):
            self.trainer.max_epochs, self.trainer.limit_train_batches = 2, 3

        def on_train_start(self):
            self.trainer.log_every_n_steps, self.trainer.limit_test_batches = 1, 1

        def on_train_batch_end(self, outputs, batch, batch_idx):
            seen.append((self.current_epoch, batch_idx))

    logger = kgenre.loggers.InMemoryLogger()
    trainer = quiet_trainer(logger=logger)
    trainer.fit(Sets(), boring_batches(4))
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [step for step, _ in logger.history("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_hook_of_executed_code_belongs_to_no_python_module():
    module, names = BoringModule(), {"seen": []}
    exec("def hook(batch, batch_idx): seen.append(batch_idx)", names)
    assert names["hook"].__module__ is None
    module.on_train_batch_start = names["hook"]
    quiet_trainer().fit(module, boring_batches(2))
    assert names["seen"] == [0, 1]


def test_callback_of_the_module_replaces_the_default_one():
    class Configures(BoringModule):
        def configure_callbacks(self):
            return [ModelSummary()]

    trainer = quiet_trainer(enable_model_summary=True)
    trainer.fit(Configures(), boring_batches(1))
    assert [type(callback) for callback in trainer.callbacks] == [ModelSummary]


@pytest.mark.parametrize("stage", ["validation", "test", "predict"])
def test_evaluation_hooks_assign_and_read_variables(stage):
    class Counts(BoringModule):
        def __init__(self):
            super().__init__()
            self.given, self.total = (keras.Variable(0.0, trainable=False) for _ in range(2))
            self.seen = []

        def step(self, batch, batch_idx):
            self.total.assign(self.total + self.given)
            return self.given + 0.0

        def give(self, batch, batch_idx):
            self.given.assign(batch_idx + 1)

        def look(self, outputs, batch, batch_idx):
            self.seen.append((float(self.total), float(keras.ops.convert_to_numpy(outputs))))

    setattr(Counts, f"{stage}_step", Counts.step)
    setattr(Counts, f"on_{stage}_batch_start", Counts.give)
    setattr(Counts, f"on_{stage}_batch_end", Counts.look)
    module = Counts()
    getattr(quiet_trainer(), stage.replace("validation", "validate"))(module, boring_batches(3))
    assert module.seen == [(1, 1), (3, 2), (6, 3)]
    assert float(module.total) == 6


@pytest.mark.parametrize("way", ["keras schedule", "scheduler"])
def test_hooks_see_the_current_learning_rate(way):
    class Net(BoringModule):
        rates = ()

        def configure_optimizers(self):
            if way == "scheduler":
                scheduler = {"scheduler": lambda step, rate: 0.1 / 2**step, "interval": "step"}
                return {"optimizer": keras.optimizers.SGD(0.1), "lr_scheduler": scheduler}
            return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))

        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.rates = (*self.rates, float(self.trainer.optimizers[0].learning_rate))
            assert self.rates[-1] == pytest.approx(self.trainer.learning_rates()[0])

    module = Net()
    quiet_trainer().fit(module, boring_batches(3))
    assert module.rates == pytest.approx([0.05, 0.025, 0.0125] if way == "keras schedule" else [0.1, 0.05, 0.025])


def test_calling_the_module_calls_forward():
    class Net(BoringModule):
        predict_step = kgenre.Module.predict_step

        def forward(self, batch, scale=1.0):
            return scale * self.model(batch["x"])

    module, batches = Net(), boring_batches(1)
    expected = batches[0]["x"] @ weights_of(module)["model.layers.0.kernel"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(module(batches[0], scale=2.0)), 2 * expected, rtol=1e-5)
    np.testing.assert_allclose(quiet_trainer().predict(module, batches)[0], expected, rtol=1e-5)
    with pytest.raises(NotImplementedError, match=r"BoringModule must define .* or forward\(self, ...\)"):
        BoringModule()(batches[0])
