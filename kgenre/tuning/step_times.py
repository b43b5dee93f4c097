"""Measure how long a model's training step takes on this machine in several ways, and cache the results."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from kgenre.engines import Engine
from kgenre.engines.cache_folder import cache_folder, staging_folder
from kgenre.engines.devices import computing_devices
from kgenre.engines.random_state import random_state, set_random_state
from kgenre.engines.step_error import XlaError

if TYPE_CHECKING:
    import keras

ROUNDS, TIME_BUDGET = 6, 5.0  # TIME_BUDGET: seconds


@contextmanager
def restoring_state(engine: Engine) -> Iterator[None]:
    """Allow training steps inside; afterwards restore the run's state and all random states.

    A profiler sees no call of the engine: these are not the run's, and it would take a part of the measured time.
    """
    methods = [name for name in vars(engine) if callable(getattr(type(engine), name, None))]
    profiled = {name: vars(engine).pop(name) for name in methods}  # see `Profiler.watch`
    arrays, random = engine.state_dict(), random_state()
    try:
        yield
    finally:
        engine.load_state_dict(arrays)
        engine.start_epoch("train")
        set_random_state(random)
        vars(engine).update(profiled)


def fastest(engine: Engine, *ways: Callable[[], Any]) -> list[float]:
    """Return the seconds that each way takes: the fastest of several rounds, in turns, after one that compiles.

    The first calls of a new compiled function are slow, and the machine may be busy. A way that takes more than twice
    as long as another is not timed again, and long steps are timed less often.
    """
    best = [math.inf] * len(ways)
    measured = 0.0
    for number in range(1 + ROUNDS):
        for i, way in enumerate(ways):
            if best[i] < math.inf and (measured > TIME_BUDGET or best[i] > 2 * min(best)):
                continue
            begun = time.perf_counter()
            way()
            engine.epoch_logs("train")  # waits
            if number:
                best[i] = min(best[i], time.perf_counter() - begun)
                measured += time.perf_counter() - begun
    return best


def step_times(engine: Engine, batch: Any, precision: str) -> dict[str, float]:
    """Measure the seconds of a training step by `way`, also with XLA if that is a choice, and add them to the table.

    If XLA cannot compile the step, its time is infinite.
    """
    (batch,) = engine.prefetch([batch])
    choices = (False, True) if engine.name == "tensorflow" else (False,)

    def step(jit_compile: bool) -> None:
        if len(choices) > 1:
            engine.jit_compile(jit_compile)
        engine.train_step(batch)

    with restoring_state(engine):
        try:
            seconds = fastest(engine, *(lambda choice=choice: step(choice) for choice in choices))
        except XlaError:
            seconds = [*fastest(engine, lambda: step(False)), math.inf]
    devices = len(engine.options.devices)
    measured = dict(zip((way(precision, choice, devices) for choice in choices), seconds, strict=True))
    remember_step_times(model_key(engine), measured)
    return measured


# --- the table: {model: {way: seconds of a step}}, a file for each machine that shares the cache ----------------------


def way(precision: str, jit_compile: bool = False, devices: int = 1) -> str:
    """Return the table's key for how steps are computed: backend and version, precision, XLA, number of devices."""
    import keras

    backend = keras.backend.backend()
    compiler = ", XLA" if jit_compile and backend == "tensorflow" else ""
    shared = f", {devices} devices" if devices > 1 else ""
    version = sys.modules[backend].__version__  # TensorFlow's package may have another name, such as tensorflow-cpu
    return f"{backend} {version}, {precision}{compiler}{shared}"


def model_key(engine: Engine) -> str:
    """Hash what a step's time depends on: variables, layers, the training batch, the kind of device, the CPUs.

    The same on every backend and in every precision.
    """
    import keras

    from kgenre.engines.named_variables import all_layers

    built = engine.built
    variables = sorted([name, *map(int, variable.shape)] for name, variable in built.variables.items())
    layers = list(map(_layer, all_layers(built.module)))
    batch = list(map(_array, keras.tree.flatten(built.first_batches["train"])))
    kind = computing_devices(engine.options.devices)[0].partition(":")[0]
    model = json.dumps([variables, layers, batch, kind, os.cpu_count()], default=lambda value: type(value).__name__)
    return hashlib.sha256(model.encode()).hexdigest()[:16]


def _layer(layer: keras.Layer) -> list[Any]:
    """The type of a layer and its options: strides, dilation, activation."""
    import keras

    # Not from `get_config`, which imports TensorFlow under any backend. Models add nothing to their layers.
    held = {} if isinstance(layer, keras.Model) else vars(layer)
    options = {name: value for name, value in held.items() if name[0] != "_" and name not in _OTHERS}
    plain = (bool, int, float, str, list, tuple)
    return [
        type(layer).__name__,
        {name: value for name, value in options.items() if isinstance(value, plain)},
        {name: value.__name__ for name, value in options.items() if isinstance(value, FunctionType)},
    ]


# Counted in the process, random, of the backend, and of the first batch.
_OTHERS = ("name", "seed", "supports_jit", "batch_shape")


def _array(spec: keras.KerasTensor) -> list[Any]:
    """Dtype and shape of an array of the batch; of token ids without the length, which differs from batch to batch."""
    is_ids = "int" in spec.dtype and len(spec.shape) == 2
    return [spec.dtype, *(spec.shape[:1] if is_ids else spec.shape)]


def known_step_times(model: str) -> dict[str, float]:
    """Return the seconds of a step by `way` that the table has."""
    return _read().get(model, {})


def remember_step_times(model: str, seconds: Mapping[str, float]) -> None:
    """Add step times to the table; if the cache cannot be written, nothing is kept."""
    with suppress(OSError):
        file, table = _file(), _read()
        table[model] = {**table.get(model, {}), **seconds}
        with staging_folder(file.parent) as making:
            (making / file.name).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            (making / file.name).replace(file)


def _file() -> Path:
    return cache_folder() / "step_times" / f"{platform.node()}.json"


def _read() -> dict[str, dict[str, float]]:
    try:
        return json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
