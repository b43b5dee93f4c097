"""Ctrl-C and SIGTERM: the current step is finished and saved, and callbacks and exit code show how it ended."""

import contextlib
import signal
import threading

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre.callbacks import ModelCheckpoint
from kgenre.checkpoints import read_checkpoint
from kgenre.training.stop_signal import StopSignal

pytestmark = pytest.mark.usefixtures("in_tmp_path")
with_sighup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows sends no SIGHUP")


def send(number, times=1):
    for _ in range(times):
        signal.raise_signal(number)


def fit(number, at=2, hook="on_train_batch_start", times=1, called=None, on_exception=False):
    """Train, with a signal at batch ``at``. Returns the trainer, the checkpoint callback and the exit code, if any."""

    def come(trainer, module, batch, batch_idx):
        if batch_idx == at:
            send(number, times)

    note = Lambdas(
        on_exception=lambda trainer, module, error: called.append(type(error).__name__),
        teardown=lambda trainer, module, stage: called.append("teardown"),
    )
    checkpoint = ModelCheckpoint(save_on_exception=on_exception)
    callbacks = [Lambdas(**{hook: come}), *([note] if called is not None else []), checkpoint]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    try:
        trainer.fit(BoringModule(), boring_batches(5), boring_batches(3))
    except SystemExit as end:
        return trainer, checkpoint, end.code
    return trainer, checkpoint, None


@pytest.mark.parametrize(
    ("number", "code", "error"),
    [
        (signal.SIGINT, None, "KeyboardInterrupt"),
        (signal.SIGTERM, 143, "SystemExit"),
        pytest.param(getattr(signal, "SIGHUP", 0), 129, "SystemExit", marks=with_sighup),
    ],
)
def test_current_step_is_finished_and_saved(number, code, error):
    called = []
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, default)  # under nohup, SIGHUP is ignored
    try:
        trainer, checkpoint, exit_code = fit(number, called=called)
        assert signal.getsignal(number) == default
    finally:
        signal.signal(number, before)
    assert (trainer.interrupted, exit_code) == (True, code)
    assert called == [error, "teardown"]
    state = read_checkpoint(checkpoint.last_model_path).state
    assert (state["global_step"], state["batch"]) == (3, 3)  # the third batch was running
    assert not (trainer.log_dir / ".lock").exists()


def test_ctrl_break_stops_a_run_too(monkeypatch):
    if not hasattr(signal, "SIGBREAK"):  # only Windows has it
        monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    trainer, checkpoint, code = fit(signal.SIGBREAK)
    assert (trainer.interrupted, trainer.global_step, code) == (True, 3, 128 + signal.SIGBREAK)
    assert checkpoint.last_model_path.is_dir()


@with_sighup
def test_sighup_is_ignored_under_nohup(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        trainer, _, code = fit(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (trainer.interrupted, trainer.global_step, code) == (False, 10, None)


def test_signal_in_the_sanity_check_saves_nothing():
    trainer, checkpoint, _ = fit(signal.SIGINT, at=1, hook="on_validation_batch_start")
    assert trainer.interrupted
    assert trainer.global_step == 0  # the sanity check: nothing to save yet
    assert checkpoint.last_model_path is None


@pytest.mark.parametrize("on_exception", [False, True])
def test_second_signal_stops_at_once(on_exception):
    trainer, checkpoint, _ = fit(signal.SIGINT, times=2, on_exception=on_exception)
    assert trainer.interrupted
    assert trainer.global_step == 2  # the third step was not finished
    assert checkpoint.last_model_path is None  # nor saved, as its state may be a mix of two steps


def test_signal_outside_the_loop_is_raised_at_once():
    stop = StopSignal()
    with pytest.raises(KeyboardInterrupt), stop.listening():
        send(signal.SIGINT)
    with pytest.raises(SystemExit) as end, stop.listening():
        send(signal.SIGTERM)
    assert end.value.code == 143
    with stop.listening(), contextlib.suppress(KeyboardInterrupt), stop.deferred():
        send(signal.SIGINT)
        assert stop.saves
        with pytest.raises(KeyboardInterrupt):
            stop.raise_if_received()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, None), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("hook", ["on_validation_end", "on_train_epoch_end", "on_train_end"])
def test_signal_after_the_last_batch_is_not_lost(hook, number, code):
    """The whole fit is saved, and the program does not go on as if nothing had happened."""
    ended = []

    class Ends(BoringModule):
        def on_train_end(self):
            ended.append(True)

    def come(trainer, module):
        if trainer.global_step == 5:
            send(number)

    checkpoint = ModelCheckpoint()
    trainer = quiet_trainer(callbacks=[Lambdas(**{hook: come}), checkpoint], enable_checkpointing=True)
    exit_code = None
    try:
        trainer.fit(Ends(), boring_batches(5), boring_batches(3))
    except SystemExit as end:
        exit_code = end.code
    assert (trainer.interrupted, exit_code) == (True, code)
    assert bool(ended) == (hook == "on_train_end")  # before, it is left to the run that resumes
    state = read_checkpoint(checkpoint.last_model_path).state
    assert (state["epoch"], state["batch"], state["global_step"]) == (1, 0, 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_swallowed_outside_the_loop_ends_the_loop(number):
    def swallow(*_):
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            send(number)

    trainer = quiet_trainer(max_epochs=2, callbacks=[Lambdas(on_fit_start=swallow)])
    with contextlib.suppress(SystemExit):
        trainer.fit(BoringModule(), boring_batches(5))
    assert (trainer.interrupted, trainer.global_step) == (True, 1)


def test_other_handlers_and_threads_are_left_alone():
    mine = signal.signal(signal.SIGTERM, handler := lambda number, frame: None)
    try:
        with StopSignal().listening():
            assert signal.getsignal(signal.SIGTERM) is handler
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, mine)
    seen = []

    def listen():
        with StopSignal().listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_next_fit_is_not_interrupted():
    trainer, _, _ = fit(signal.SIGINT)
    trainer.callbacks = []
    trainer.fit(BoringModule(), boring_batches(2))
    assert not trainer.interrupted
    assert trainer.global_step == 4


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_interrupted_evaluation_raises(stage):
    def come(trainer, module, batch, batch_idx, dataloader_idx):
        send(signal.SIGINT)

    hook = f"on_{ {'validate': 'validation'}.get(stage, stage) }_batch_start"
    trainer = quiet_trainer(callbacks=Lambdas(**{hook: come}))
    with pytest.raises(KeyboardInterrupt):
        getattr(trainer, stage)(BoringModule(), boring_batches(3))
    assert trainer.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
