"""What a stage does at its end if some of that fails: the rest is done all the same, and the first error is raised."""

import csv
import json
import logging
import os
import shutil
import signal
from contextlib import ExitStack

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

import kgenre
from kgenre.callbacks import ModelCheckpoint
from kgenre.training.cleanup import cleaning_up

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def failing(error):
    def fail(*arguments):
        raise error

    return fail


class Note(kgenre.loggers.Logger):
    """Notes that it is finalized, and then fails if it has an error to raise."""

    def __init__(self, called, error=None):
        super().__init__()
        self.called, self.error = called, error

    def finalize(self, status):
        self.called.append(f"finalize {status}")
        if self.error is not None:
            raise self.error


class Data(kgenre.DataModule):
    def __init__(self, called):
        self.called = called

    def train_dataloader(self):
        return boring_batches(3)

    def teardown(self, stage):
        self.called.append("data")


@pytest.mark.parametrize("bad", [(), (1,), (1, 2), (0,), (0, 1), (0, 2), (0, 1, 2)])
def test_the_first_error_is_raised_and_later_ones_are_logged(bad, caplog):
    def step(number):
        called.append(number)
        if number in bad:
            raise ValueError(number)

    called, raised = [], []
    try:
        with cleaning_up((f"Part {number}", lambda number=number: step(number)) for number in (1, 2, 3)):
            step(0)
    except ValueError as error:
        raised = list(error.args)
    assert called == [0, 1, 2, 3]
    assert raised == list(bad[:1])
    assert caplog.messages == [f"Part {number} failed: ValueError: {number}" for number in bad[1:]]


def test_logged_errors_have_their_traceback_at_debug_level(caplog):
    for level, shown in ((logging.INFO, False), (logging.DEBUG, True)):
        caplog.clear()
        part = "Part", failing(ValueError("of the part"))
        with caplog.at_level(level, "kgenre"), pytest.raises(ZeroDivisionError), cleaning_up([part]):
            raise ZeroDivisionError
        assert ("Traceback" in caplog.text) == shown


def test_failing_hook_of_an_interrupted_fit_does_not_keep_it_from_saving(caplog):
    def interrupt(trainer, module, outputs, batch, batch_idx):
        if batch_idx == 1:
            os.kill(os.getpid(), signal.SIGINT)

    notify = Lambdas(on_train_batch_end=interrupt, on_exception=failing(ConnectionError("no network")))
    module, checkpoint = BoringModule(), ModelCheckpoint()
    module.on_exception = failing(OSError("of the module"))
    trainer = quiet_trainer(callbacks=[notify, checkpoint], enable_checkpointing=True)
    trainer.fit(module, boring_batches(3))
    assert trainer.interrupted
    assert checkpoint.last_model_path.name == "step=000002"
    assert checkpoint.last_model_path.is_dir()
    assert "LambdaCallback.on_exception failed: ConnectionError: no network" in caplog.messages
    assert "BoringModule.on_exception failed: OSError: of the module" in caplog.messages


def test_hook_that_exits_does_not_keep_a_failed_fit_from_saving():
    called = []
    leave = Lambdas(on_train_batch_end=failing(ValueError()), on_exception=failing(SystemExit(3)))
    checkpoint = ModelCheckpoint(save_on_exception=True)
    trainer = quiet_trainer(callbacks=[leave, checkpoint], enable_checkpointing=True, logger=Note(called))
    with pytest.raises(SystemExit, match="3"):
        trainer.fit(BoringModule(), Data(called))
    assert checkpoint.last_model_path.is_dir()
    assert called == ["finalize failed", "data"]


def test_everything_is_cleaned_up_although_parts_fail(caplog):
    called = []
    callbacks = [
        Lambdas(teardown=failing(RuntimeError("of the callback"))),
        Lambdas(teardown=lambda *arguments: called.append("callback")),
    ]
    loggers = [Note(called, OSError("of the logger")), Note(called)]
    trainer = quiet_trainer(callbacks=callbacks, logger=loggers)
    with pytest.raises(OSError, match="of the logger"):
        trainer.fit(BoringModule(), Data(called))
    assert called == ["finalize success", "finalize success", "data", "callback"]
    assert trainer.state.stage is None
    assert "LambdaCallback.teardown failed: RuntimeError: of the callback" in caplog.messages


def test_an_error_of_the_fit_is_raised_although_the_cleanup_fails(caplog):
    called, seen, error = [], [], ValueError("the first error")

    def fail(trainer, module, *arguments):
        shutil.rmtree(trainer.run_dir)  # so that metrics.json cannot be written
        raise error

    callbacks = [
        Lambdas(on_train_batch_end=fail, on_exception=lambda trainer, module, error: seen.append(error)),
        Lambdas(on_exception=failing(ConnectionError()), teardown=lambda *arguments: called.append("callback")),
    ]
    trainer = quiet_trainer(callbacks=callbacks, logger=[Note(called, OSError("of the logger")), Note(called)])
    with pytest.raises(ValueError, match="the first error"):
        trainer.fit(BoringModule(), Data(called))
    assert seen == [error]
    assert called == ["finalize failed", "finalize failed", "data", "callback"]
    assert "Note.finalize failed: OSError: of the logger" in caplog.messages
    (of_metrics,) = (line for line in caplog.messages if line.startswith("Writing the metrics failed: FileNotFound"))
    assert of_metrics.endswith("metrics.json'")


def test_metrics_that_cannot_be_written_at_the_end_are_an_error_after_everything_else():
    called = []
    block = Lambdas(on_train_end=lambda trainer, module: (trainer.run_dir / "metrics.json").mkdir())
    checkpoint = ModelCheckpoint()
    trainer = quiet_trainer(callbacks=[block, checkpoint], enable_checkpointing=True, logger=Note(called))
    with pytest.raises(OSError, match=r"metrics\.json"):
        trainer.fit(BoringModule(), Data(called))
    assert called == ["finalize failed", "data"]
    assert checkpoint.last_model_path.is_dir()


def test_fit_survives_a_full_disk_with_on_save_error_warn(file_size_limit):
    def fill(trainer, module):
        if trainer.current_epoch == 2:
            context.enter_context(file_size_limit(100))
        if trainer.current_epoch == 5:
            context.close()

    with ExitStack() as context:
        callbacks = [Lambdas(on_train_epoch_start=fill), ModelCheckpoint(monitor=None, on_save_error="warn")]
        options = {"max_epochs": 8, "log_every_n_steps": 1, "enable_checkpointing": True, "logger": True}
        trainer = quiet_trainer(callbacks=callbacks, **options)
        trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
    with (trainer.run_dir / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [*range(1, 17)]
    assert json.loads((trainer.run_dir / "metrics.json").read_text()).keys() == trainer.callback_metrics.keys()
    assert {path.name for path in (trainer.run_dir / "checkpoints").iterdir()} == {"last", "step=000016"}


@pytest.mark.parametrize(("fails", "torn_down"), [("data", ["c"]), ("a", ["data", "c"]), ("b", ["data", "a", "c"])])
def test_only_what_was_set_up_is_torn_down(fails, torn_down):
    """A ``teardown`` may use what ``setup`` created; without a ``setup`` of its own it is always called."""

    def setup(name):
        return failing(ValueError(name)) if name == fails else lambda *arguments: None

    def teardown(name):
        return lambda *arguments: called.append(name)

    class Prepared(Data):
        def setup(self, stage):
            setup("data")()

    called = []
    callbacks = [Lambdas(setup=setup(name), teardown=teardown(name)) for name in ("a", "b")]
    trainer = quiet_trainer(callbacks=[*callbacks, Lambdas(teardown=teardown("c"))])
    with pytest.raises(ValueError, match=fails):
        trainer.fit(BoringModule(), Prepared(called))
    assert called == torn_down
