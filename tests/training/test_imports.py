"""Importing kgenre imports neither Keras nor a backend; training on arrays needs TensorFlow only as the backend."""

import keras
import pytest

BACKENDS = ("tensorflow", "jax", "torch", "keras")


@pytest.mark.parametrize(
    "module",
    ["kgenre", "kgenre.training", "kgenre.callbacks", "kgenre.loggers", "kgenre.checkpoints", "kgenre.engines"],
)
def test_importing_imports_no_backend(run_python, module):
    script = f"""
import sys, {module}
print([name for name in {BACKENDS} if name in sys.modules])
"""
    assert run_python(script).strip() == "[]"


def test_signatures_for_the_command_line_import_no_backend(run_python):
    script = f"""
import inspect, sys, kgenre
from kgenre import *
from kgenre.callbacks import *
from kgenre.loggers import *
assert {{*kgenre.__all__, "callbacks"}} <= set(dir(kgenre))
for name in set(kgenre.__all__) - {{"TrainerError"}}:
    inspect.signature(getattr(kgenre, name))
Trainer(callbacks=[ModelCheckpoint(), EarlyStopping(), LearningRateScheduler(ConstantThenDecay())])
print([name for name in {BACKENDS} if name in sys.modules])
"""
    assert run_python(script).strip() == "[]"


def test_options_of_all_loggers_and_callbacks_are_parsed_without_a_backend(run_python):
    """The parser executes the imports below `if TYPE_CHECKING` of a module whose class an option names."""
    script = f"""
import contextlib, inspect, sys
from kgenre import callbacks, loggers
from kgenre.cli import configuration
parser = configuration.make_parser("fit", "")
for package, base, option in (callbacks, "Callback", "callbacks+"), (loggers, "Logger", "logger"):
    classes = [one for one in vars(package).values() if inspect.isclass(one) and not inspect.isabstract(one)]
    for name in {{one.__name__ for one in classes}} - {{base, "LoggerError", "KerasCallback"}}:
        with contextlib.suppress(SystemExit):  # some need arguments
            parser.parse_args([f"--trainer.{{option}}={{name}}"])
print([name for name in {BACKENDS} if name in sys.modules])
"""
    assert run_python(script).strip() == "[]"


def test_training_on_arrays_never_imports_tensorflow(run_python, tmp_path):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("about the others")
    script = f"""
import sys
from boring import BoringModule, boring_dataset
import kgenre
kgenre.seed_everything(1)
trainer = kgenre.Trainer(max_epochs=2, default_root_dir={str(tmp_path)!r})
module = BoringModule()
trainer.fit(module, boring_dataset(), boring_dataset())
trainer.test(module, boring_dataset(), ckpt_path="best")
trainer.predict(module, boring_dataset())
BoringModule.load_from_checkpoint(trainer.log_dir)
files = sorted(set(path.name.split(".")[0] for path in trainer.log_dir.iterdir()))
print(files, "tensorflow" in sys.modules)
"""
    printed = run_python(script + SEEDS).splitlines()
    assert printed[-2] == "['checkpoints', 'environment', 'events', 'metrics', 'test', 'val'] False"
    assert printed[-1] == "True", "the seed is that of Keras, which imports TensorFlow for it"


SEEDS = """
import random
import keras, numpy as np

def drawn():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    noise = keras.ops.convert_to_numpy(keras.random.normal((2,)))
    return keras.ops.convert_to_numpy(layer.kernel).tolist(), noise.tolist(), np.random.random(), random.random()

kgenre.seed_everything(7)
ours = drawn()
assert "tensorflow" not in sys.modules
keras.utils.set_random_seed(7)
print(ours == drawn())
"""
