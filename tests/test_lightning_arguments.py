import inspect

import pytest

import kgenre
from kgenre import callbacks, loggers
from kgenre.lightning_arguments import REPLACEMENTS, ArgumentError

pytestmark = pytest.mark.backend_free


def found(path):
    """The function that an entry of REPLACEMENTS is about."""
    first, _, method = path.partition(".")
    (owner,) = (getattr(place, first) for place in (kgenre, callbacks, loggers) if hasattr(place, first))
    return owner if inspect.isfunction(owner) else getattr(owner, method or "__init__")


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in REPLACEMENTS.items() for name in names])
def test_arguments_of_lightning_are_explained(path, name):
    function = found(path)
    assert name not in inspect.signature(function).parameters
    with pytest.raises(ArgumentError) as raised:
        function(None, **{name: 1})
    assert str(raised.value) == f"{path} has no argument {name!r}: {REPLACEMENTS[path][name]}."


def test_subclasses_explain_too():
    class Mine(callbacks.ModelCheckpoint):
        def __init__(self, **options):
            super().__init__(**options)

    with pytest.raises(ArgumentError, match=r"ModelCheckpoint has no argument 'dirpath'"):
        Mine(dirpath="checkpoints")
    with pytest.raises(ArgumentError, match=r"Logger has no argument 'version': runs are numbered"):
        loggers.CSVLogger("runs", version=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: loggers.TensorBoardLogger("runs", "kfold", "fold_0"), "TensorBoardLogger has no argument 'version'"),
        (lambda: loggers.CSVLogger("runs").log_hyperparams({}, {"hp/loss": 0}), "log_hyperparams has no argument 'met"),
        (lambda: callbacks.Timer("00:01:00:00", "step", True), "Timer has no argument 'verbose'"),
        (lambda: kgenre.seed_everything(1, True), "seed_everything has no argument 'workers'"),
    ],
)
def test_arguments_without_names_are_explained(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_surplus_arguments_that_lightning_does_not_have_either():
    with pytest.raises(TypeError, match=r"takes from 1 to 2 positional arguments but 3 were given"):
        callbacks.ProgressBar(1, 2)


def test_a_similar_argument_is_named():
    with pytest.raises(ArgumentError, match=r"Trainer has no argument 'max_epoch'\. Did you mean 'max_epochs'\?"):
        kgenre.Trainer(max_epoch=3)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'quux'"):
        kgenre.Trainer(quux=3)


def test_the_signature_stays():
    assert callbacks.Timer(interval="epoch").interval == "epoch"
    assert list(inspect.signature(callbacks.Timer).parameters) == ["duration", "interval"]
    assert kgenre.Trainer.fit.__doc__.startswith("Train a module.")
