"""Mistakes that compiled steps usually swallow silently: here they raise, warn or work, on every backend alike."""

import random
import sys
import threading
import traceback
import types
import warnings
from operator import attrgetter
from pathlib import Path
from random import gauss

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, traces, weights_of
from keras import layers, ops
from numpy.random import rand

import kgenre
from kgenre.engines.step_error import StepError


def fit(module, batches=None, **arguments):
    trainer = quiet_trainer(**arguments)
    trainer.fit(module, boring_batches(2) if batches is None else batches)
    return trainer


class MetricInStep(BoringModule):
    def training_step(self, batch, batch_idx):
        metric = keras.metrics.Mean()
        metric.update_state(self.error(batch))
        self.log("mean", metric.result())
        return self.error(batch)


class LayerInStep(BoringModule):
    def training_step(self, batch, batch_idx):
        return ops.mean(layers.Dense(1)(batch["x"]) ** 2)


class MetricOutside(BoringModule):
    def training_step(self, batch, batch_idx):
        elsewhere[0].update_state(self.error(batch))
        return self.error(batch)


class AssignsOutside(BoringModule):
    def training_step(self, batch, batch_idx):
        elsewhere[0].total.assign(self.error(batch))  # never read
        return self.error(batch)


elsewhere = []


@pytest.mark.parametrize("module", [MetricInStep, LayerInStep, MetricOutside, AssignsOutside])
def test_variables_outside_the_module_are_rejected(module):
    elsewhere[:] = [keras.metrics.Mean()]
    with pytest.raises(StepError, match=r"^A step uses the variable .* which the module does not hold"):
        fit(module())


class CreatesVariable(BoringModule):
    def training_step(self, batch, batch_idx):
        return self.error(batch) * keras.Variable(1.0)


class BuildsStatefulLayer(BoringModule):
    def __init__(self):
        super().__init__()
        self.memory = keras.layers.GRU(4, stateful=True)

    def training_step(self, batch, batch_idx):
        return ops.mean(self.memory(batch["x"][:, None]))


@pytest.mark.parametrize("module", [CreatesVariable, BuildsStatefulLayer])
def test_variable_created_in_a_step_is_rejected(module):
    with pytest.raises(StepError, match=r"^training_step creates a variable at test_traps.py, line \d+ .*__init__"):
        fit(module())


class Counting(BoringModule):
    def __init__(self):
        super().__init__()
        self.count = keras.Variable(0.0, trainable=False)


class AssignInCond(Counting):
    def training_step(self, batch, batch_idx):
        loss = self.error(batch)

        def add():
            self.count.assign(self.count + loss)
            return loss * 2

        return ops.cond(loss > 0, add, lambda: loss * 1)


class AssignInCondReadInTheOtherBranch(Counting):
    def training_step(self, batch, batch_idx):
        loss = self.error(batch)
        return ops.cond(
            loss > 0,
            lambda: ops.convert_to_tensor(self.count.assign(self.count + loss)),
            lambda: ops.convert_to_tensor(self.count),
        )


class AssignInWhile(Counting):
    def training_step(self, batch, batch_idx):
        def body(i):
            self.count.assign(ops.cast(i, "float32"))
            return (i + 1,)

        ops.while_loop(lambda i: i < 3, body, (0,))
        return self.error(batch)


class AssignInCondOfValidation(Counting):
    def validation_step(self, batch, batch_idx):
        AssignInCond.training_step(self, batch, batch_idx)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs one branch eagerly: nothing can leak")
@pytest.mark.parametrize(
    "module", [AssignInCond, AssignInCondReadInTheOtherBranch, AssignInWhile, AssignInCondOfValidation]
)
def test_assignment_inside_a_branch_is_rejected(module):
    with pytest.raises(StepError, match=r"^A step assigns a variable inside keras\.ops\.cond, while_loop or scan"):
        quiet_trainer().fit(module(), boring_batches(1), boring_batches(1))


ASKS = {
    "float": lambda m, loss: m.log("loss", float(loss)),
    "if": lambda m, loss: loss * 2 if loss > 3 else loss,
    "numpy": lambda m, loss: np.mean(np.asarray(loss)),
    "item": lambda m, loss: loss.item(),
    ".numpy()": lambda m, loss: print(loss.numpy()),
    "range": lambda m, loss: [0 for _ in range(ops.cast(loss, "int32"))],
}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow compiles it, torch runs it as Python")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("lookup", [lambda: layers.IntegerLookup(vocabulary=[1, 2]), lambda: layers.Hashing(3)])
def test_lookup_layer_error_suggests_dataset_map(lookup, nested):
    class Looks(BoringModule):
        def __init__(self):
            super().__init__()
            self.lookup = keras.Sequential([lookup()]) if nested else lookup()

        def training_step(self, batch, batch_idx):
            return self.error(batch) * ops.mean(self.lookup(ops.cast(batch["x"], "int32")))

    with pytest.raises(StepError, match=r"^training_step calls a layer with a vocabulary or hash at .*dataset\.map"):
        fit(Looks())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others compile or run it")
@pytest.mark.parametrize("nested", [False, True])
def test_layer_of_keras_that_reads_values_is_explained(nested):
    class Augments(BoringModule):
        def __init__(self):
            super().__init__()
            augment = layers.RandomElasticTransform(seed=1)
            self.augment = keras.Sequential([augment]) if nested else augment

        def training_step(self, batch, batch_idx):
            return self.error(batch) + ops.mean(self.augment(ops.ones((1, 4, 4, 3)), training=True))

    told = r"^training_step calls a layer of Keras at test_traps\.py, line \d+ .* reads the values .*dataset\.map"
    with pytest.raises(StepError, match=told):
        fit(Augments())


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs as Python each time")
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_reading_values_in_a_layer_names_its_line(depth):
    class Asks(layers.Layer):
        def call(self, x):
            return x * 2 if ops.sum(x) > 0 else x

    module, layer = BoringModule(), Asks()
    for _ in range(depth):
        layer = keras.Sequential([layer])
    module.model = keras.Sequential([layer, module.model])

    told = r"^training_step reads the values of .* at test_traps\.py, line \d+ \(return x \* 2 if .*keras\.ops"
    with pytest.raises(StepError, match=told):
        fit(module)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs as Python each time")
def test_rematerialization_that_keras_cannot_compile_is_explained():
    class Recomputes(BoringModule):
        def __init__(self, mode):
            super().__init__()
            with keras.RematScope(mode=mode):
                self.model = keras.Sequential([layers.Dense(3, "gelu"), layers.Dropout(0.5, seed=1), layers.Dense(2)])

    with pytest.raises(StepError, match=r"keras\.RematScope at boring\.py.*mode='activations'"):
        fit(Recomputes("full"))
    fit(Recomputes("activations"))


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs as Python each time")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_reading_values_error_names_the_line(ask):
    class Asks(BoringModule):
        def training_step(self, batch, batch_idx):
            loss = self.error(batch)
            ask(self, loss)
            return loss

    line = ask.__code__.co_firstlineno
    with pytest.raises(
        StepError, match=rf"^training_step reads the values of .* at test_traps\.py, line {line} \(.*keras\.ops"
    ):
        fit(Asks())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere a tensor gives its rows")
def test_unpacking_a_tensor_error_names_the_line():
    class Unpacks(BoringModule):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return ops.mean((self.model(x) - y) ** 2)

    told = r"^training_step iterates over a tensor at test_traps\.py, line \d+ \(x, y = batch.*ArrayDataset\(\(x, y\)"
    with pytest.raises(StepError, match=told):
        fit(Unpacks(), [np.zeros((8, 4), "float32")])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="converts a variable")
@pytest.mark.parametrize("how", ["in a tuple", "as an index"])
def test_variable_where_a_tensor_is_needed_is_explained(how):
    class Queues(BoringModule):
        def __init__(self):
            super().__init__()
            self.queue = keras.Variable(np.zeros((8, 4), "float32"), trainable=False)
            self.end = keras.Variable(0, dtype="int32", trainable=False)

        def training_step(self, batch, batch_idx):
            end = self.end.value if right else self.end
            if how == "in a tuple":
                self.queue.assign(ops.slice_update(self.queue.value, (end, 0), batch["x"]))
            return self.error(batch) + ops.sum(self.queue.value[end])

    right, told = False, r"^training_step passes a keras\.Variable .* at test_traps\.py, line \d+ .*variable\.value"
    with pytest.raises(StepError, match=told):
        fit(Queues())
    right, module = True, Queues()
    fit(module, boring_batches(1))
    assert np.any(module.queue.value != 0) == (how == "in a tuple")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends slice with tensors")
def test_slicing_with_a_tensor_error_suggests_keras_ops():
    class Slices(BoringModule):
        def training_step(self, batch, batch_idx):
            x = ops.slice(batch["x"], (batch_idx, 0), (2, 4)) if right else batch["x"][batch_idx : batch_idx + 2]
            return ops.mean(self.model(x) ** 2)

    right, told = (
        False,
        r"^training_step slices with a tensor as a bound at test_traps\.py, line \d+ .*keras\.ops\.slice\(",
    )
    with pytest.raises(StepError, match=told):
        fit(Slices())
    right = True
    fit(Slices())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends select rows")
def test_mask_error_suggests_weights():
    class Masks(BoringModule):
        def training_step(self, batch, batch_idx):
            loss, mask = ops.mean((self.model(batch["x"]) - batch["y"]) ** 2, axis=1), batch["x"][:, 0] > 0
            if weighted:
                return ops.sum(ops.where(mask, loss, 0.0)) / ops.sum(ops.cast(mask, "float32"))
            return ops.mean(loss[mask])

    weighted = False
    with pytest.raises(StepError, match=r"^training_step selects rows by a mask at test_traps\.py, .* Weight them"):
        fit(Masks())
    weighted = True
    fit(Masks())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends convert")
def test_mixed_dtypes_error_suggests_keras_ops():
    class Half(BoringModule):
        def training_step(self, batch, batch_idx):
            return ops.mean(self.differ(ops.cast(self.model(batch["x"]), "float16"), batch["y"]) ** 2)

    Half.differ = staticmethod(lambda a, b: a - b)
    told = r"^training_step combines tensors of float16 and float32 at test_traps\.py, line \d+ .*ops\.subtract"
    with pytest.raises(StepError, match=told):
        fit(Half())
    Half.differ = staticmethod(ops.subtract)
    fit(Half())


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs as Python each time")
def test_file_next_to_the_package_is_user_code():
    """In a clone, the package ``kgenre/kgenre`` may lie next to scripts such as ``kgenre/kgenre_runs.py``."""
    known = {"BoringModule": BoringModule}
    step = "class Asks(BoringModule):\n def training_step(self, batch, batch_idx):\n  return float(self.error(batch))"
    exec(compile(step, f"{Path(kgenre.__file__).parent}_runs.py", "exec"), known)
    with pytest.raises(StepError, match=r"at kgenre_runs.py, line 3 \("):
        fit(known["Asks"]())


LIBRARY = "/home/student/.local/lib/python3/site-packages/library.py"


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs as Python each time")
def test_error_names_the_users_line_and_cell(monkeypatch):
    cell = "/cells/ipykernel_7/1234.py"
    names = types.SimpleNamespace(format_code_name=lambda file: ("Cell", "In[5]") if file == cell else None)
    shell = types.SimpleNamespace(compile=names)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    known = {"BoringModule": BoringModule}
    exec(compile("def read(tensor):\n    return float(tensor)", LIBRARY, "exec"), known)
    lines = (
        "class Asks(BoringModule):",
        "def training_step(self, batch, batch_idx):",
        "return read(self.error(batch))",
    )
    exec(compile("{}\n  {}\n    {}".format(*lines), cell, "exec"), known)
    with pytest.raises(StepError, match=r"^training_step reads the values of a tensor at Cell In\[5\], line 3 \("):
        fit(known["Asks"]())


def test_notebook_traceback_has_only_the_users_lines():
    """IPython calls ``_render_traceback_`` of an error that has it."""
    with pytest.raises(StepError) as caught:
        fit(MetricInStep())
    first, second, message = caught.value._render_traceback_()
    assert first.startswith("test_traps.py, line ")
    assert first.endswith("(fit(MetricInStep()))")
    assert second.endswith("(trainer.fit(module, boring_batches(2) if batches is None else batches))")
    assert message == f"StepError: {caught.value}"


class Misspells(BoringModule):
    def training_step(self, batch, batch_idx):
        return self.error(batch["inputs"])


@pytest.mark.parametrize("in_ipython", [True, False])
def test_ipython_hides_all_but_the_users_lines(monkeypatch, in_ipython):
    """IPython leaves out a frame that has ``__tracebackhide__``, unless it is the last."""
    shell = types.SimpleNamespace(get_ipython=lambda: object() if in_ipython else None)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    with pytest.raises(KeyError) as caught:
        fit(Misspells())
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [frame.f_code.co_name for frame in frames if "__tracebackhide__" not in frame.f_locals]
    assert (shown == ["test_ipython_hides_all_but_the_users_lines", "fit", "training_step"]) == in_ipython
    assert len(shown) == (3 if in_ipython else len(frames))


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_ipython_shows_an_error_outside_the_users_code_in_full(monkeypatch, error):
    """A fault of kgenre can be reported; Ctrl-C has no line of interest."""
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=object))
    known = {"error": error}
    exec(compile("def fail(*_):\n    raise error", LIBRARY, "exec"), known)
    monkeypatch.setattr("kgenre.training.trainer.build_for_evaluation", known["fail"])
    with pytest.raises(error) as caught:
        quiet_trainer().test(BoringModule(), boring_batches(1))
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    hidden = [frame for frame in frames if "__tracebackhide__" in frame.f_locals]
    assert hidden == (frames[1:] if error is KeyboardInterrupt else [])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch compiles nothing: a step may return anything")
@pytest.mark.parametrize("name", ["training_step", "predict_step"])
def test_object_returned_by_a_step_is_named(name):
    def step(self, batch, batch_idx):
        return {"loss": self.error(batch), "more": [1.0, np.float32(2), {"red"}, None]}

    step.__name__, trainer = name, quiet_trainer()
    module = type("Net", (BoringModule,), {name: step})()
    said = rf"^{name} returned \"\{{'red'\}}\" \(set\) at outputs\['more'\]\[2\]: under {keras.backend.backend()} "
    with pytest.raises(StepError, match=said):
        (trainer.fit if name == "training_step" else trainer.predict)(module, boring_batches(1))


def test_text_returned_by_a_step():
    class Texts(BoringModule):
        def predict_step(self, batch, batch_idx):
            return {"text": "text"}

    if keras.backend.backend() == "jax":
        with pytest.raises(StepError, match=r"^predict_step returned 'text' \(str\) at outputs\['text'\]: under jax"):
            quiet_trainer().predict(Texts(), boring_batches(1))
    else:
        [outputs] = quiet_trainer().predict(Texts(), boring_batches(1))
        assert outputs["text"] in ("text", b"text")


def test_type_error_of_a_step_is_passed_through():
    class Wrong(BoringModule):
        def training_step(self, batch, batch_idx):
            raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        fit(Wrong())


def test_conditional_assignment_with_where_works():
    class Where(Counting):
        def training_step(self, batch, batch_idx):
            count = ops.convert_to_tensor(self.count)
            self.count.assign(ops.where(batch_idx % 2 == 0, count + 1.0, count))
            return self.error(batch)

    module = Where()
    fit(module, boring_batches(5))
    assert weights_of(module)["count"] == 3


compiled = pytest.mark.skipif(keras.backend.backend() == "torch", reason="steps run as Python each time")


@compiled
def test_python_counter_in_a_step_warns():
    class Counts(BoringModule):
        steps = 0

        def __init__(self):
            super().__init__()
            self.steps = 0

        def training_step(self, batch, batch_idx):
            self.steps += 1
            return self.error(batch)

    with pytest.warns(UserWarning, match=r"training_step changes self\.steps"):
        fit(Counts())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        module = BoringModule()
        module.best = float("nan")  # NaN differs from itself
        fit(module)


@compiled
@pytest.mark.parametrize("stage", ["training_step", "validation_step"])
def test_tensors_collected_by_a_step_are_rejected(stage):
    class Keeps(BoringModule):
        def __init__(self):
            super().__init__()
            self.kept = []

    def step(self, batch, batch_idx):
        self.kept.append(self.error(batch))
        return self.error(batch)

    setattr(Keeps, stage, step)
    step.__name__ = stage
    with pytest.raises(StepError, match=rf"{stage} puts tensors into self\.kept.* outputs"):
        quiet_trainer(max_epochs=1).fit(Keeps(), boring_batches(1), boring_batches(1))


@compiled
def test_tensor_kept_by_a_step_warns():
    class Keeps(BoringModule):
        def training_step(self, batch, batch_idx):
            self.newest = self.error(batch)
            return self.newest

    with pytest.warns(UserWarning, match=r"training_step changes self\.newest"):
        fit(Keeps())


@compiled
@pytest.mark.parametrize(
    "name", ["current_epoch", "global_step", "trainer.current_epoch", "trainer.global_step", "trainer.is_last_batch"]
)
def test_trainer_counter_in_a_step_warns(name):
    read = attrgetter(name)

    class Anneals(BoringModule):
        def training_step(self, batch, batch_idx):
            return self.error(batch) * (1.0 + read(self))

        def on_train_epoch_start(self):
            assert read(self) >= 0

    with pytest.warns(
        UserWarning, match=rf"A step reads {name.removeprefix('trainer.')} and keeps using (0|False).*keras\.Variable"
    ):
        fit(Anneals())


@pytest.mark.parametrize("trainable", [True, False])
def test_assigning_a_trained_variable_warns(trainable, recwarn):
    class Queues(BoringModule):
        def __init__(self):
            super().__init__()
            self.queue = keras.Variable(np.ones(4, "float32"), trainable=trainable)
            self.normed = keras.layers.SpectralNormalization(keras.layers.Dense(4))

        def training_step(self, batch, batch_idx):
            loss = self.error(batch) + ops.mean(self.normed(ops.ones((1, 4)), training=True) * self.queue)
            self.queue.assign(self.queue * 0.5)
            return loss

    fit(Queues())
    said = [str(warning.message) for warning in recwarn if "the optimizer trains too" in str(warning.message)]
    assert [text.split(",")[0] for text in said] == ["training_step assigns self.queue"] * trainable


def test_step_that_skips_the_sanity_check_validates():
    class Leaves(BoringModule):
        def validation_step(self, batch, batch_idx):
            self.trainer.asked = self.trainer.max_epochs
            if self.trainer.sanity_checking:
                return
            self.log("val/loss", self.error(batch))

    trainer = quiet_trainer()
    trainer.fit(Leaves(), boring_batches(1), boring_batches(1))
    assert trainer.callback_metrics["val/loss"] > 0
    assert trainer.asked == 1


def test_reading_optimizers_error_suggests_the_monitor():
    class Reads(BoringModule):
        def training_step(self, batch, batch_idx):
            self.log("rate", self.trainer.optimizers[0].learning_rate)
            return self.error(batch)

    with pytest.raises(StepError, match=r"cannot read trainer\.optimizers.*LearningRateMonitor"):
        fit(Reads())


@compiled
@pytest.mark.parametrize(
    "draws",
    [random.random, gauss, rand, lambda m: np.random.beta(1, 1), lambda m: random.random(), lambda m: m.rng.random()],
)
def test_python_random_numbers_in_a_step_warn(draws):
    class Mixes(BoringModule):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)

        def training_step(self, batch, batch_idx):
            return self.error(batch) * float(draws(self) if isinstance(draws, types.FunctionType) else draws())

    with pytest.warns(UserWarning, match=r"training_step draws .* the same numbers\. Use keras\.random with seed"):
        fit(Mixes())


@compiled
def test_python_random_numbers_of_a_keras_layer_warn():
    class Augments(BoringModule):
        def __init__(self):
            super().__init__()
            self.augment = layers.AugMix(num_chains=1, seed=1)

        def training_step(self, batch, batch_idx):
            images = self.augment(ops.ones((1, 4, 4, 3)), training=True)
            return self.error(batch) + 0.0 * ops.mean(images)

    with pytest.warns(UserWarning, match=r"training_step draws .* the same numbers\..* in the data pipeline"):
        fit(Augments())


def test_random_numbers_of_another_thread_do_not_warn():
    class Draws(BoringModule):
        def training_step(self, batch, batch_idx):
            over.wait(0.01)  # the other thread draws
            return self.error(batch)

    def draw():
        while not over.wait(0.001):
            np.random.random()

    over = threading.Event()
    source = threading.Thread(target=draw)
    source.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            fit(Draws())
    finally:
        over.set()
        source.join()


@compiled
def test_lazily_built_layers_may_draw_random_numbers():
    class Lazy(BoringModule):
        def __init__(self):
            super().__init__()
            self.attend = layers.MultiHeadAttention(2, 4)
            self.seed = keras.random.SeedGenerator(3)

        def training_step(self, batch, batch_idx):
            x = batch["x"][:, None] + keras.random.normal((), stddev=np.pi, seed=self.seed)  # not Python's, nor NumPy's
            return self.error(batch) + ops.mean(self.attend(x, x))

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(Lazy())


@compiled
@pytest.mark.parametrize("step", ["training_step", "shared_step"])
def test_attribute_changed_without_effect_warns_once(step):
    class Shares(BoringModule):
        def training_step(self, batch, batch_idx):
            return self.shared_step(batch, batch_idx)

    class Anneals(Shares):
        def __init__(self):
            super().__init__()
            self.share, self.epochs = 0.0, 0

        def on_train_epoch_start(self):
            self.share += 0.1
            self.epochs += 1  # which no step reads

    setattr(Anneals, step, lambda self, batch, batch_idx: self.error(batch) * self.share)
    getattr(Anneals, step).__name__ = step
    with pytest.warns(UserWarning, match="was compiled when") as caught:
        quiet_trainer(max_epochs=4).fit(Anneals(), boring_batches(1))
    said = [str(one.message) for one in caught if "was compiled when" in str(one.message)]
    assert len(said) == 1
    assert said[0].startswith("self.share is 0.2 now, but training_step was compiled when it was 0.1")


def share_of(module):
    return module.share


@compiled
@pytest.mark.one_backend("jax")
def test_attribute_that_a_function_reads_changed_without_effect_warns():
    class Anneals(BoringModule):
        share = 0.0

        def training_step(self, batch, batch_idx):
            return self.error(batch) * share_of(self)

        def on_train_epoch_start(self):
            self.share = 1.0 + self.current_epoch

    with pytest.warns(UserWarning, match=r"self\.share is 2\.0 now, but training_step was compiled when it was 1\.0"):
        fit(Anneals(), max_epochs=2)


@compiled
@pytest.mark.one_backend("jax")
@pytest.mark.parametrize("values", [(1.0, np.ones(2)), (np.ones(2), 1.0), (np.ones(2), "all"), (1.0, None)])
def test_attribute_replaced_by_another_type(values):
    class Replaces(BoringModule):
        def __init__(self):
            super().__init__()
            self.share = values[0]

        def training_step(self, batch, batch_idx):
            return self.error(batch) * ops.sum(ops.convert_to_tensor(self.share, "float32"))

        def on_train_epoch_end(self):
            self.share = values[1]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        fit(Replaces(), max_epochs=2)
    said = [one for one in caught if "self.share" in str(one.message)]
    assert len(said) == (values[1] is not None)


@pytest.mark.one_backend("jax")
def test_long_chain_of_objects_does_not_overflow():
    class Node:
        def __init__(self, following):
            self.following, self.weight = following, 1.0

    class Chained(BoringModule):
        def __init__(self):
            super().__init__()
            self.chain = None
            for _ in range(2000):
                self.chain = Node(self.chain)

        def training_step(self, batch, batch_idx):
            return self.error(batch) * self.chain.weight

    trainer = fit(Chained())
    assert trainer.global_step


@compiled
@pytest.mark.one_backend("jax")
def test_nested_changes_without_effect_are_named():
    class Focal:
        gamma, calls = 2.0, 0

        def __init__(self):
            self.gamma, self.net = 2.0, None

        def __call__(self, error):
            return error**self.gamma

    class Part(BoringModule):
        factor = 1.0

    class Anneals(BoringModule):
        def __init__(self):
            super().__init__(dropout=0.1)
            self.focal, self.part, self.classes = Focal(), Part(), np.ones(2, "float32")
            self.focal.net = self  # a reference cycle
            self.part.factor = 1.0
            self.shares, self.table, self.large = {"a": [0.5, 0.5]}, ops.ones(2), np.ones(200, "float32")

        def training_step(self, batch, batch_idx):
            error = self.error(batch, training=True) * self.shares["a"][0] * self.part.factor * self.hparams.units
            return self.focal(error) * ops.sum(self.classes + self.table) * self.large[0]

        def on_train_epoch_start(self):
            epoch = self.current_epoch
            self.focal.gamma, self.part.factor, self.hparams.units = 2.0 + epoch, 1.0 + epoch, 2 + epoch
            self.classes[:], self.large = 1.0 + epoch, np.full(200, 1.0 + epoch, "float32")
            self.shares["a"][0], self.table = 0.5 + epoch, ops.ones(2) * (1 + epoch)
            self.model.layers[0].rate = 0.1 + 0.1 * epoch
            self.model.layers[0].trainable = self.model.layers[0].trainable  # no change
            self.trainer.optimizers[0].weight_decay = 0.1 * epoch

        def configure_optimizers(self):
            return keras.optimizers.AdamW(weight_decay=0.0, name="adamw")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Anneals(), max_epochs=3)
    said = sorted(str(one.message).split(" now, but")[0] for one in caught if "was compiled when" in str(one.message))
    names = ("classes", "focal.gamma", "hparams.units", "large", "model.dropout", "part.factor", "shares.a.0", "table")
    names += ("trainer.optimizers.adamw.weight_decay",)
    assert len(said) == len(names)
    for one, name in zip(said, names, strict=True):
        assert one.startswith(f"self.{name}")
    assert said[0].startswith("self.classes has changed, but training_step was compiled when it had its old value")
    assert said[1] == "self.focal.gamma is 3.0"


@compiled
@pytest.mark.one_backend("jax")
def test_changed_value_is_named_once_whatever_is_frozen(recwarn):
    class Thaws(BoringModule):
        def __init__(self):
            super().__init__()
            self.scale = 1.0
            self.model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])

        def training_step(self, batch, batch_idx):
            return self.error(batch) * self.scale

        def on_train_epoch_start(self):  # two epochs with the first layer frozen, then two with it
            self.model.layers[0].trainable = self.current_epoch > 1
            self.scale = 1.0 + self.current_epoch

        def on_fit_start(self):
            self.model.layers[0].trainable = False

    fit(Thaws(), max_epochs=4)
    assert sum("self.scale is" in str(one.message) for one in recwarn) == 1


@pytest.mark.parametrize("way", ["scope", "stateless_call"])
def test_scope_inside_a_step_reads_the_steps_variables(way):
    class Inner(BoringModule):
        """The kernel is passed in; the bias and a growing factor are variables of the step."""

        def __init__(self):
            super().__init__()
            self.grows = keras.Variable(1.0, trainable=False)
            self.model = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Lambda(lambda x: x * self.grows)])

        def training_step(self, batch, batch_idx):
            self.grows.assign(self.grows + 1.0)
            dense = self.model.layers[0]
            given = ops.ones((4, 2))
            if way == "scope":
                with keras.StatelessScope(state_mapping=[(dense.kernel, given)]):
                    predicted = self.model(batch["x"])
            else:
                predicted, _ = self.model.stateless_call([given, dense.bias + 0.0], [], batch["x"])
            return ops.mean(ops.square(predicted / self.grows - batch["y"]))

        def configure_optimizers(self):
            return keras.optimizers.SGD(0.5)

    module, (batch,) = Inner(), boring_batches(1)
    fit(module, [batch] * 3)
    bias = np.zeros(2)
    for _ in range(3):  # the mean over two columns cancels the 2 in the square's slope
        bias = bias - 0.5 * np.mean(batch["x"] @ np.ones((4, 2)) + bias - batch["y"], axis=0)
    np.testing.assert_allclose(weights_of(module)["model.layers.0.bias"], bias, rtol=1e-5)


@pytest.mark.one_backend("jax")
def test_keras_scopes_are_restored_after_a_fit():
    before = keras.StatelessScope.get_current_value
    fit(BoringModule())
    assert keras.StatelessScope.get_current_value is before


class UnseededNoise(BoringModule):
    def training_step(self, batch, batch_idx):
        return self.error(batch) + ops.mean(keras.random.normal((3,)))


def test_random_numbers_without_a_seed_are_rejected():
    with pytest.raises(
        StepError, match=r"^A step draws random numbers without .* self\.seed = keras\.random\.SeedGenerator"
    ):
        fit(UnseededNoise())


def test_random_numbers_with_a_seed_differ_each_step():
    drawn = []

    class Noise(BoringModule):
        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(3)

        def training_step(self, batch, batch_idx):
            return {"loss": self.error(batch), "noise": keras.random.normal((3,), seed=self.seed)}

    def note(trainer, module, outputs, batch, batch_idx):
        drawn.append(trainer.engine.to_host(outputs["noise"]))

    module = Noise()
    fit(module, boring_batches(3), callbacks=Lambdas(on_train_batch_end=note))
    assert len({array.tobytes() for array in drawn}) == 3
    assert weights_of(module)["seed.seed"].tolist() != [0, 3]


@pytest.mark.parametrize("stage", ["training", "validation"])
def test_random_numbers_with_a_constant_seed_warn_in_training(stage, recwarn):
    class Noise(BoringModule):
        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(3)
            self.lazy = layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=1))
            self.attend = layers.MultiHeadAttention(2, 4)
            self.dropout = layers.Dropout(0.5, seed=2)

        def noisy(self, batch, seed):
            keras.random.uniform((), seed=self.seed)
            noise = self.dropout(self.lazy(keras.random.normal((8, 4), seed=seed)), training=True)
            noise = noise + self.attend(noise[None], noise[None])[0]  # torch's += changes what attend keeps
            return self.error({"x": batch["x"] + noise, "y": batch["y"]})

        def training_step(self, batch, batch_idx):
            return self.noisy(batch, 42 if stage == "training" else self.seed)

        def validation_step(self, batch, batch_idx):  # here it may be wanted: the same noise in each validation
            self.log("val/loss", self.noisy(batch, 42))

    quiet_trainer().fit(Noise(), boring_batches(2), boring_batches(1))
    said = [str(warning.message) for warning in recwarn if "draws random numbers" in str(warning.message)]
    assert [text.split(",")[0] for text in said] == ["training_step draws random numbers with seed=42"] * (
        stage == "training"
    )


# --- losses that layers collect ---------------------------------------------------------------------------------


class ThroughAddLoss(layers.Layer):
    def call(self, x):
        self.add_loss(0.5 * ops.mean(x**2))
        return x


def loss_of_first_step(make_layers):
    """Return the minimised loss and, as "plain", the part of it that the step computed from the data."""

    class Extra(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), *make_layers])

        def training_step(self, batch, batch_idx):
            loss = self.error(batch, training=True)
            return {"loss": loss, "plain": loss}

    seen = []
    fit(Extra(), boring_batches(1), callbacks=Lambdas(on_train_batch_end=lambda t, m, out, *_: seen.append(out)))
    return {name: float(value) for name, value in seen[0].items()}


def ones(**arguments):
    return layers.Dense(2, kernel_initializer="ones", **arguments)


@pytest.mark.parametrize(
    ("make_layers", "expected"),
    [
        ([ones()], lambda x: 0.0),
        ([ones(kernel_regularizer=keras.regularizers.L2(0.1))], lambda x: 0.1 * 8),
        ([ones(activity_regularizer=keras.regularizers.L1(0.01))], lambda x: 0.01 * 2 * np.abs(x.sum(1)).sum() / 8),
        ([ThroughAddLoss(), ones()], lambda x: 0.5 * np.mean(x**2)),
    ],
    ids=["none", "weights", "activity", "add_loss"],
)
def test_extra_losses_are_counted_once(make_layers, expected):
    values = loss_of_first_step(make_layers)
    x = boring_batches(1)[0]["x"]
    assert values["loss"] - values["plain"] == pytest.approx(expected(x), rel=1e-4, abs=1e-6)


def test_losses_that_a_step_reads():
    class Reads(BoringModule):
        def __init__(self):
            super().__init__(learning_rate=0.0)
            self.model = keras.Sequential([keras.Input((4,)), ones(kernel_regularizer=keras.regularizers.L2(0.1))])

        def training_step(self, batch, batch_idx):
            loss = self.error(batch, training=True)
            self.log("train/penalty", sum(self.model.losses))
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/penalty", sum(self.model.losses))

    trainer = quiet_trainer()
    with pytest.warns(UserWarning, match=r"training_step reads the losses of 'sequential.*count twice"):
        trainer.fit(Reads(), boring_batches(1), boring_batches(1))
    assert trainer.callback_metrics["train/penalty"] == pytest.approx(0.1 * 8)
    assert trainer.callback_metrics["val/penalty"] == pytest.approx(0.1 * 8)


def test_layer_held_twice_is_regularised_once():
    class HeldTwice(BoringModule):
        def __init__(self):
            super().__init__()
            self.encoder = ones(kernel_regularizer=keras.regularizers.L2(0.1))
            self.model = keras.Sequential([keras.Input((4,)), self.encoder])

        def training_step(self, batch, batch_idx):
            loss = self.error(batch)
            return {"loss": loss, "plain": loss}

    seen = []
    fit(HeldTwice(), boring_batches(1), callbacks=Lambdas(on_train_batch_end=lambda t, m, out, *_: seen.append(out)))
    assert float(seen[0]["loss"] - seen[0]["plain"]) == pytest.approx(0.1 * 8, rel=1e-4)


def test_lazily_built_layer_with_regulariser_trains():
    class Lazy(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([layers.Dense(2, kernel_regularizer="l2")])

    module = Lazy()
    assert not module.model.built
    trainer = fit(module, max_epochs=2)
    names = set(trainer.engine.state_dict())
    assert {"model.layers.0.kernel", "model.layers.0.bias"} <= names
    assert trainer.engine.traces["train"] == traces(1)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda loss: {"other": loss}, r"keys \['other'\]"),
        (lambda loss: ops.stack([loss, loss]), r"shape \(2,\)"),
    ],
)
def test_step_must_return_one_loss(returned, message):
    class Wrong(BoringModule):
        def training_step(self, batch, batch_idx):
            return returned(self.error(batch))

    with pytest.raises(StepError, match=message):
        fit(Wrong())


def test_step_may_take_items_out_of_its_batch():
    class Pops(BoringModule):
        def training_step(self, batch, batch_idx):
            return ops.mean((self.model(batch.pop("x")) - batch.pop("y")) ** 2)

    kept, batches, module, plain = [], boring_batches(2), Pops(), BoringModule()
    fit(module, batches, callbacks=Lambdas(on_train_batch_end=lambda t, m, o, batch, i: kept.append(sorted(batch))))
    fit(plain, batches)
    assert kept == [["x", "y"]] * 2
    np.testing.assert_array_equal(module.model.get_weights()[0], plain.model.get_weights()[0])


# --- what the backends would do differently -----------------------------------------------------------------------


def test_sparse_embedding_gradients_train_as_dense_ones():
    """TensorFlow's gradients of an embedding are sparse, and its Adam treats repeated rows differently."""
    tokens = np.array([[1, 1, 2, 1], [3, 2, 1, 1]], "int32")
    table = np.linspace(-1, 1, 10).reshape(5, 2).astype("float32")

    class Embedding(BoringModule):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense
            self.model = layers.Embedding(5, 2, embeddings_initializer=keras.initializers.Constant(table))

        def training_step(self, batch, batch_idx):
            rows = ops.one_hot(batch["x"], 5) @ self.model.embeddings if self.dense else self.model(batch["x"])
            return ops.mean(ops.sum(rows, axis=1) ** 2)

        def configure_optimizers(self):
            return keras.optimizers.Adam(0.1)

    trained = []
    for dense in (False, True):
        module = Embedding(dense)
        if dense:
            module.model.build()
        fit(module, [{"x": tokens}] * 5)
        trained.append(weights_of(module)["model.embeddings"])
    np.testing.assert_allclose(*trained, rtol=1e-5)
    assert not np.allclose(trained[0][1], table[1])
    np.testing.assert_array_equal(trained[0][[0, 4]], table[[0, 4]])  # rows without a token stay


def test_layer_losses_with_a_reused_id_are_counted():
    """Ids are reused: under torch in each step, elsewhere when a step is compiled again."""

    class Adds(layers.Layer):
        def __init__(self, loss):
            super().__init__()
            self.one = loss

        def call(self, x):
            self.add_loss(self.one)
            return x

    class Net(BoringModule):
        def __init__(self):
            super().__init__()
            one = ops.ones(())
            self.parts = [Adds(one), Adds(one)]

        def training_step(self, batch, batch_idx):
            for part in self.parts:
                part(batch["x"])
            return 0.0 * self.error(batch)

    losses = []
    keep = Lambdas(on_train_batch_end=lambda trainer, module, outputs, *_: losses.append(float(outputs["loss"])))
    fit(Net(), boring_batches(2) + boring_batches(1, rows=3), callbacks=keep)
    assert losses == [2, 2, 2]


def test_batch_norm_statistics_move_only_in_training():
    class Norm(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(momentum=0.5), ones()])

    module, batches = Norm(), boring_batches(1)
    trainer = quiet_trainer(num_sanity_val_steps=1)
    trainer.fit(module, batches, boring_batches(3, seed=5))
    mean = weights_of(module)["model.layers.0.moving_mean"]
    np.testing.assert_allclose(mean, 0.5 * batches[0]["x"].mean(0), rtol=1e-4)


@compiled
def test_layer_replaced_by_a_hook_is_named():
    class Replaces(BoringModule):
        def on_train_epoch_start(self):
            if self.current_epoch:
                self.model = keras.models.clone_model(self.model)

    with pytest.warns(UserWarning, match=r"self.model.layers.0.kernel is a different variable now, but the fit keeps"):
        fit(Replaces(), max_epochs=2)
