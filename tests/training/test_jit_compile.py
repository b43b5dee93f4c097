"""Choosing XLA under TensorFlow by measurement: no result changes, and a resumed run keeps its choice."""

import errno
import json
import logging
import re
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of

import kgenre
from kgenre.training import jit_compile
from kgenre.tuning import Tuner
from kgenre.tuning.step_times import _layer, known_step_times, model_key, remember_step_times, way

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
IS_TORCH = keras.backend.backend() == "torch"
tensorflow_only = pytest.mark.skipif(not IS_TENSORFLOW, reason="the others have no choice")


@pytest.fixture(autouse=True)
def cache(in_tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(in_tmp_path / "cache"))


class Adam(BoringModule):
    def __init__(self):
        super().__init__(dropout=0.2)

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


def fitted(ckpt_path=None, **arguments):
    module, trainer = Adam(), quiet_trainer(**arguments)
    trainer.fit(module, boring_batches(), boring_batches(1), ckpt_path=ckpt_path)
    return trainer, module


def is_xla(trainer):
    """Whether the engine's training step really is compiled with XLA."""
    programs = trainer.engine._programs.values()
    return any(program.function_def.attr["_XlaMustCompile"].b for program in programs)


def same_weights(a, b):
    for name, array in weights_of(a).items():
        assert (weights_of(b)[name] == array).all(), name


@tensorflow_only
@pytest.mark.parametrize("with_xla", [False, True])
def test_measuring_does_not_change_results(monkeypatch, caplog, with_xla):
    caplog.set_level(logging.INFO, "kgenre")
    monkeypatch.setattr(jit_compile, "CLEARLY_FASTER", 1e9 if with_xla else 0.0)
    told, expected = fitted(jit_compile=with_xla)
    auto, module = fitted(jit_compile="auto", logger=True)
    assert (is_xla(told), is_xla(auto), auto.chosen_jit_compile) == (with_xla,) * 3
    same_weights(expected, module)
    assert f"XLA is {'used' if with_xla else 'not used'} (" in caplog.text
    assert json.loads((auto.run_dir / "environment.json").read_text())["jit_compile"] is with_xla


@tensorflow_only
def test_a_deterministic_run_measures_no_time(monkeypatch, caplog):
    monkeypatch.setattr("kgenre.engines.determinism.make_deterministic", lambda warn_only: None)
    kgenre.seed_everything(0)
    monkeypatch.setattr(jit_compile, "CLEARLY_FASTER", 1e9)
    trainer, _ = fitted(jit_compile="auto", deterministic=True)
    assert (is_xla(trainer), trainer.chosen_jit_compile) == (False, False)
    assert "jit_compile=auto is ignored: what it measures may differ when the run is repeated" in caplog.text


@tensorflow_only
def test_known_step_times_are_used_and_resume_keeps_the_choice(monkeypatch):
    first, _ = fitted(jit_compile="auto")
    model = model_key(first.engine)
    assert set(known_step_times(model)) == {way("32-true", False), way("32-true", True)}
    remember_step_times(model, {way("32-true", False): 1.0, way("32-true", True): 0.1})
    monkeypatch.setattr(jit_compile, "step_times", None)  # a call would raise
    _, expected = fitted(jit_compile="auto", max_epochs=2)
    begun, _ = fitted(jit_compile="auto")
    assert is_xla(begun)
    path = begun.save_checkpoint("end")
    remember_step_times(model, {way("32-true", False): 0.1, way("32-true", True): 1.0})
    resumed, module = fitted(jit_compile="auto", max_epochs=2, ckpt_path=path)
    assert is_xla(resumed)
    same_weights(expected, module)
    assert not is_xla(fitted(jit_compile="auto")[0])


class DrawsGamma(Adam):
    """Uses an operation that XLA does not support under TensorFlow."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + 0 * keras.ops.sum(keras.random.gamma((2,), 0.5, seed=1))


@tensorflow_only
def test_step_that_xla_cannot_compile(caplog):
    caplog.set_level(logging.INFO, "kgenre")
    with pytest.raises(RuntimeError, match=r"XLA cannot compile this step \(StatelessRandomGamma\w* is not supported"):
        quiet_trainer(jit_compile=True).fit(DrawsGamma(), boring_batches(1))
    trainer = quiet_trainer(jit_compile="auto")
    trainer.fit(DrawsGamma(), boring_batches(1))
    assert not is_xla(trainer)
    assert "XLA is not used (" in caplog.text
    assert "impossible with XLA)." in caplog.text


@pytest.mark.skipif(IS_TENSORFLOW, reason="it has the choice")
def test_other_backends_measure_nothing(monkeypatch):
    monkeypatch.setattr(jit_compile, "step_times", None)
    fitted(jit_compile="auto")


def test_clearly_faster_setting_is_logged(caplog):
    caplog.set_level(logging.INFO, "kgenre")
    trainer, _ = fitted()
    assert "Measured on this machine" not in caplog.text
    remember_step_times(model_key(trainer.engine), {way("32-true"): 0.1, "elsewhere 1.0, bf16-mixed": 0.05})
    fitted()
    assert "Measured on this machine: a step takes 100 ms as in this run" in caplog.text
    assert "but 50 with elsewhere 1.0, bf16-mixed." in caplog.text
    caplog.clear()
    remember_step_times(model_key(trainer.engine), {"elsewhere 1.0, bf16-mixed": 0.09})
    fitted()
    assert "Measured on this machine" not in caplog.text


class Convolves(BoringModule):
    def __init__(self, **options):
        super().__init__()
        layers = keras.layers
        self.model = keras.Sequential([layers.Conv2D(2, 3, **options), layers.GlobalMaxPooling2D(), layers.Dense(2)])


def test_step_times_are_those_of_the_model_and_its_batches():
    def key(module, side=8, dtype="float32", rows=4):
        batch = {"x": np.zeros((rows, side, side, 1), dtype), "y": np.zeros((rows, 2), "float32")}
        trainer = quiet_trainer()
        trainer.fit(module, [batch])
        return model_key(trainer.engine)

    same = key(Convolves())
    assert key(Convolves()) == same
    of_other_batches = [key(Convolves(), **other) for other in ({"side": 16}, {"rows": 5}, {"dtype": "uint8"})]
    others = [key(Convolves(strides=2)), *of_other_batches]
    assert len({same, *others}) == 1 + len(others)


def test_step_times_of_all_backends_are_of_one_model():
    """A key that differed would hide that another backend was measured to be faster."""
    known = [_layer(layer) for layer in (keras.layers.Rescaling(2.0), keras.layers.LSTM(2), keras.layers.Dense(2))]
    assert keras.backend.backend() not in str(known)
    assert "supports_jit" not in str(known), "which is False for an LSTM under TensorFlow"
    assert known[2][2]["activation"] == "linear"


def test_step_times_of_texts_of_any_length():
    class Embeds(BoringModule):
        def __init__(self):
            super().__init__()
            layers = keras.layers
            self.model = keras.Sequential([layers.Embedding(5, 3), layers.GlobalMaxPooling1D(), layers.Dense(2)])

    def key(length):
        trainer = quiet_trainer()
        trainer.fit(Embeds(), [{"x": np.zeros((4, length), "int32"), "y": np.zeros((4, 2), "float32")}])
        return model_key(trainer.engine)

    assert key(3) == key(4)


def test_backend_from_a_package_of_another_name(monkeypatch):
    """Such as tensorflow-cpu."""

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    trainer = quiet_trainer()
    trainer.fit(BoringModule(), boring_batches(1))
    assert re.fullmatch(rf"{keras.backend.backend()} [\d.]+\S*, 32-true", way("32-true"))


def test_step_times_leave_no_trace():
    module, trainer = Adam(), quiet_trainer()
    before = weights_of(module)
    times = Tuner(trainer).step_times(module, boring_batches())
    expected = {way("32-true"), way("32-true", True)} if IS_TENSORFLOW else {way("32-true")}
    assert set(times) == expected
    assert all(0 < seconds < 10 for seconds in times.values())
    assert all((weights_of(module)[name] == array).all() for name, array in before.items())
    trainer.fit(module, boring_batches(), boring_batches(1))
    same_weights(fitted()[1], module)
    assert known_step_times(model_key(trainer.engine)) == times


def test_full_disk_keeps_the_previous_table(in_tmp_path, monkeypatch):
    def full(path, text, **_):
        path.write_bytes(text.encode()[:9])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    remember_step_times("model", {"here": 1.0})
    monkeypatch.setattr(Path, "write_text", full)
    remember_step_times("model", {"here": 2.0})
    assert known_step_times("model") == {"here": 1.0}
    assert len(list((in_tmp_path / "cache" / "step_times").iterdir())) == 1


def test_wrong_values():
    with pytest.raises(ValueError, match=r"jit_compile=...\) takes 'auto' or True or .*Received: 'always'"):
        quiet_trainer(jit_compile="always")
    assert quiet_trainer(jit_compile=1).jit_compile is True


@pytest.mark.skipif(IS_TENSORFLOW, reason="it has the choice")
def test_a_choice_that_the_backend_does_not_have_is_ignored_with_a_warning(caplog):
    wrong, right, reason = (True, False, "torch compiles nothing") if IS_TORCH else (False, True, "JAX always compiles")
    fitted(jit_compile=right)
    fitted(jit_compile="auto")
    assert "jit_compile" not in caplog.text
    fitted(jit_compile=wrong)
    assert f"jit_compile={wrong} is ignored: {reason}." in caplog.text
