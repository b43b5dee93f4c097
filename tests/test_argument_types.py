import inspect
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import kgenre
from kgenre import callbacks, loggers, profilers
from kgenre.argument_types import wrong_argument
from kgenre.lightning_arguments import ArgumentError

pytestmark = pytest.mark.backend_free

PUBLIC = [kgenre.Trainer, *(getattr(home, name) for home in (callbacks, loggers, profilers) for name in home.__all__)]
TYPED = [
    (cls, name)
    for cls in PUBLIC
    if inspect.isfunction(getattr(cls, "__init__", None)) and cls is not callbacks.KerasCallback  # has none of these
    for name in inspect.signature(cls).parameters
    if wrong_argument(inspect.unwrap(cls.__init__), name, object())
]


@pytest.mark.parametrize(("cls", "name"), TYPED, ids=lambda value: getattr(value, "__name__", value))
def test_every_public_class_refuses_a_wrong_type(cls, name):
    with pytest.raises(ArgumentError, match=rf"^{cls.__name__}\({name}=...\) takes .*\. Received: <object object"):
        cls(**{name: object()})


def test_these_classes_have_arguments_with_types():
    assert len(TYPED) > 120
    assert (callbacks.TerminateOnNaN, "every_n_steps") in TYPED  # from its base


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: callbacks.EarlyStopping(patience="3"), "EarlyStopping(patience=...) takes a whole number. R"),
        (lambda: callbacks.EarlyStopping("val/loss", 0.0, 2.5), "EarlyStopping(patience=...) takes a whole number. R"),
        (lambda: callbacks.EarlyStopping(strict="no"), "EarlyStopping(strict=...) takes True or False. Received: 'no'"),
        (lambda: callbacks.ModelCheckpoint(save_top_k="all"), "ModelCheckpoint(save_top_k=...) takes a whole number. "),
        (
            lambda: callbacks.ModelCheckpoint(filename=3),
            "ModelCheckpoint(filename=...) takes text or None. Received: 3",
        ),
        (lambda: callbacks.ProgressBar(None), "ProgressBar(refresh_rate=...) takes a whole number. Received: None"),
        (lambda: callbacks.Timer(interval=["step"]), "Timer(interval=...) takes 'step' or 'epoch'. Received: ['step']"),
        (lambda: callbacks.PredictionWriter(3), "PredictionWriter(output_dir=...) takes text or a path or None. Rec"),
        (lambda: callbacks.LearningRateFinder(1j), "LearningRateFinder(min_lr=...) takes a number. Received: 1j"),
        (lambda: callbacks.EarlyStopping(min_delta=np.nan), "EarlyStopping(min_delta=...) takes a number. Received"),
        (lambda: kgenre.Trainer(overfit_batches=np.nan), "Trainer(overfit_batches=...) takes a number. Received: nan"),
        (lambda: loggers.CSVLogger(save_dir=3), "CSVLogger(save_dir=...) takes text or None. Received: 3"),
    ],
)
def test_the_message_says_what_was_given_and_what_to_give(call, message):
    with pytest.raises(ArgumentError) as raised:
        call()
    assert str(raised.value).startswith(message)
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    "call",
    [
        lambda: callbacks.EarlyStopping(patience=np.int64(3), min_delta=np.float32(0.1), verbose=1, strict=np.True_),
        lambda: callbacks.EarlyStopping(min_delta=1, patience=np.array(3), stopping_threshold=Fraction(1, 3)),
        lambda: callbacks.EarlyStopping(mode=np.str_("max"), check_on_train_epoch_end=None),
        lambda: callbacks.ModelCheckpoint(save_last=None, train_time_interval={"minutes": 30}, save_top_k=True),
        lambda: callbacks.PredictionWriter(Path("folder")),
        lambda: loggers.CSVLogger(Path("runs")),
        lambda: kgenre.Trainer(max_epochs=np.int32(3), fast_dev_run=np.True_, steps_per_execution=np.int64(2)),
        lambda: kgenre.Trainer(default_root_dir=Path("runs"), gradient_clip_val=np.float32(0.5), logger=False),
        lambda: kgenre.Trainer(precision=16),
    ],
)
def test_numbers_of_numpy_paths_and_subclasses_are_accepted(call):
    call()


def test_annotations_of_other_types_are_not_checked():
    def function(either: int | list[int], plain, other: "list[int]"):
        pass

    assert not any(wrong_argument(function, name, object()) for name in ("either", "plain", "other"))
