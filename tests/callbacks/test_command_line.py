"""Callbacks and ``max_time`` on the command line: jsonargparse can parse, instantiate and print them."""

from __future__ import annotations

from operator import attrgetter

import pytest
from jsonargparse import ArgumentParser, Namespace

from kgenre.callbacks import Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN, Timer

pytestmark = pytest.mark.backend_free


def attributes(value):
    return {n: attributes(v) for n, v in vars(value).items()} if type(value).__module__.startswith("kgenre.") else value


def read(cls, **arguments):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=Callback | list[Callback] | None)
    given = [f"--callbacks.{name}={value}" for name, value in arguments.items()]
    config = parser.parse_args([f"--callbacks=kgenre.callbacks.{cls.__name__}", *given])
    printed = parser.dump(config)
    again = parser.instantiate(parser.parse_string(printed))
    made = parser.instantiate(config)
    assert isinstance(made, Namespace)
    assert repr(attributes(made.callbacks)) == repr(attributes(again.callbacks))
    return made.callbacks


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [
        (Timer, {"duration": "00:00:01:00"}, {"duration": 60.0}),
        (Timer, {"duration": "10:00:00:00", "interval": "epoch"}, {"duration": 864000.0, "interval": "epoch"}),
        (Timer, {"duration": '{"hours": 2}'}, {"duration": 7200.0}),
        (TerminateOnNaN, {"every_n_steps": 3}, {"every_n_steps": 3}),
        (ReduceLROnPlateau, {"factor": 0.5, "mode": "max"}, {"factor": 0.5, "mode": "max", "patience": 10}),
        (
            ModelCheckpoint,
            {"filename": "{epoch:02d}-{val/loss:.3f}", "train_time_interval": "00:00:30:00"},
            {"filename": "{epoch:02d}-{val/loss:.3f}", "times.seconds": 1800.0, "times.epochs": None},
        ),
        (ModelCheckpoint, {"every_n_train_steps": 5, "save_on_exception": "true"}, {"times.steps": 5}),
        (
            EarlyStopping,
            {"stopping_threshold": 0.1, "restore_best_weights": "true"},
            {"stopping_threshold": 0.1, "restore_best_weights": True, "divergence_threshold": None},
        ),
    ],
    ids=str,
)
def test_callback_from_the_command_line(cls, given, expected):
    callback = read(cls, **given)
    assert type(callback) is cls
    assert {name: attrgetter(name)(callback) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "seconds"), [("00:00:00:30", 30), ("10:00:00:00", 864000), ('{"minutes": 2}', 120)], ids=str
)
def test_max_time_from_the_command_line(given, seconds):
    from kgenre import Trainer

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Trainer, "trainer")
    config = parser.parse_args([f"--trainer.max_time={given}", "--trainer.min_epochs=2", "--trainer.min_steps=3"])
    trainer = parser.instantiate(parser.parse_string(parser.dump(config))).trainer
    (timer,) = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    assert (timer.duration, trainer.min_epochs, trainer.min_steps) == (seconds, 2, 3)
