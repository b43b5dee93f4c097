"""The TensorFlow engine: one `tf.function` per step, with the state in the Keras variables themselves."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgenre.engines.base_engine import BaseEngine
from kgenre.engines.built_module import KEPT_DIVISIONS, Division, as_saved
from kgenre.engines.explained_errors import ASSIGNED_IN_BRANCH
from kgenre.engines.step_error import StepError, XlaError
from kgenre.engines.step_logs import StepLogs, add_to_sums, initial_sums
from kgenre.engines.step_options import StepOptions
from kgenre.engines.traced_step import CONVOLUTIONS, weight_penalty
from kgenre.engines.weight_update import apply_gradients, process_gradients
from kgenre.kernels.adam import adam_step
from kgenre.kernels.read_at_once import read_at_once
from kgenre.kernels.tensorflow_platform import compiled_by_xla

# From here on Adam in one operation per variable is faster: with 200,000 weights a step takes 17.2 instead of 19.0 ms,
# but with a hundred 0.30 instead of 0.25.
_MANY_WEIGHTS = 50_000


class TensorFlowEngine(BaseEngine):
    """See `kgenre.engines.engine.Engine`. The Keras variables hold `tf.Variable`s."""

    name = "tensorflow"

    def __init__(self, options: StepOptions) -> None:
        super().__init__(options)
        self._jit_compile = options.jit_compile
        self._compiled: dict[tuple[bool, Division], dict[Any, Any]] = {}  # by XLA or not, and division
        self._sums: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self._batch_idx: dict[str, tf.Variable] = {}
        self._totals: dict[int, tf.Variable] = {}  # by id of the variable whose gradients are accumulated
        self._count = tf.Variable(0.0, trainable=False)

    # --- building -----------------------------------------------------------------------------------------------

    def _divide(self) -> None:
        super()._divide()
        for optimizer in self.built.optimizers:
            # Keras sums gradients over the replicas, of which there is one, through a custom gradient. TensorFlow keeps
            # each custom gradient for good, and with it the step's graph.
            optimizer._all_reduce_sum_gradients = _as_they_are
            is_adam = type(optimizer).update_step is keras.optimizers.Adam.update_step and not optimizer.amsgrad
            if is_adam and sum(math.prod(variable.shape) for variable in self._trainable) >= _MANY_WEIGHTS:
                optimizer._backend_update_step = partial(adam_step, optimizer)
        if self.options.accumulate_grad_batches > 1:
            known = {id(total) for total in self._accumulated}  # of variables that were trained until now
            for variable in self._trainable:
                if id(variable) not in self._totals:
                    self._totals[id(variable)] = tf.Variable(tf.zeros_like(variable.value), trainable=False)
            self._accumulated = [self._totals[id(variable)] for variable in self._trainable]
            for total in self._accumulated:
                if id(total) not in known:
                    total.assign(tf.zeros_like(total))
        self.jit_compile(self._jit_compile)

    def forget_evaluations(self) -> None:
        super().forget_evaluations()
        self._compiled.clear()
        self.jit_compile(self._jit_compile)
        for stage in self._sums.keys() - {"train"}:  # the new step may log other values
            del self._sums[stage], self._batch_idx[stage]

    def jit_compile(self, wanted: bool) -> None:
        self._jit_compile = wanted
        way = wanted, self._division
        if way not in self._compiled and len(self._compiled) == KEPT_DIVISIONS:
            self._compiled.clear()
        self._programs = self._compiled.setdefault(way, {})

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        return self._run(self._traced_train, update, batch)

    def train_steps(self, batches: Sequence[Any], size: int, update: bool = True) -> Any:
        # Padded to `size`; the number of real batches is passed at run time, so that one compiled function is enough.
        padded = [*batches, *[batches[-1]] * (size - len(batches))]
        stacked = keras.tree.map_structure(_stacked, *padded)
        return self._run(self._traced_several, update, stacked, tf.constant(len(batches)))

    def why_single_steps(self, batch: Any) -> str | None:
        if tf.config.list_logical_devices("GPU"):
            return None
        operations = self._program(self._traced_train, True, *self.prefetch([batch])).graph.get_operations()
        return CONVOLUTIONS if any("Conv" in operation.type for operation in operations) else None

    def eval_step(self, stage: str, batch: Any) -> Any:
        return self._run(self._traced_eval, stage, batch)

    def _run(self, step: Callable[..., Any], kind: bool | str, *arguments: Any) -> Any:
        try:
            return self._program(step, kind, *arguments)(*arguments)
        except ValueError as error:
            if "out of scope" in str(error):
                raise StepError(ASSIGNED_IN_BRANCH) from error
            raise
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if "tf2xla conversion failed" not in str(error):
                raise
            unknown = re.search(r"on XLA_\w+_JIT: (\w+)", str(error))
            why = f"{unknown[1]} is not supported" if unknown else str(error).splitlines()[0].rstrip(".")
            raise XlaError(f"jit_compile=True: XLA cannot compile this step ({why}). Set jit_compile=False.") from error

    def _program(self, step: Callable[..., Any], kind: bool | str, *arguments: Any) -> Any:
        """``step(kind, ...)`` compiled for arguments of this structure and these shapes and dtypes.

        Called directly, a concrete function has half the Python overhead of its `tf.function`.
        """
        leaves = keras.tree.flatten_with_path(arguments)
        key = (step.__name__, kind, *((path, *leaf.shape, leaf.dtype) for path, leaf in leaves))
        program = self._programs.get(key)
        if program is None:
            # No AutoGraph: a Python `if` on a tensor works on no other backend, and its errors are hard to read.
            function = tf.function(partial(step, kind), jit_compile=self._jit_compile, autograph=False)
            with compiled_by_xla(self._jit_compile):
                program = self._programs[key] = function.get_concrete_function(*arguments)
        return program

    def _traced_train(self, update: bool, batch: Any) -> tuple[dict[str, Any], Any]:
        self.traces["train"] += 1
        self.built.check_optimized()
        variables = [v.value for v in self._trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            result = self.built.run("train", (batch, self._batch_idx["train"].read_value()))
            scaled = None if result.loss is None else self.built.scaled(result.loss)
        outputs, recorded, gradients = result.outputs, result.logs.recorded(), []
        if result.loss is not None:
            gradients = tape.gradient(scaled, variables)
            if all(gradient is None for gradient in gradients):
                self.built.raise_no_gradient()
            # On a separate tape, so as not to hide a loss that reaches no variable.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                penalty = weight_penalty(self.built.module)
                scaled = self.built.scaled(penalty)
            outputs = outputs | {"loss": result.loss + penalty}
            gradients = list(map(_gradient, variables, gradients, tape.gradient(scaled, variables)))
        for variable, value in result.updates:
            variable.assign(value)
        applies: Any = result.loss is not None
        if self.options.accumulate_grad_batches > 1:
            gradients, applies = self._accumulate(gradients, update)
        if update and applies is not False:
            recorded |= self._update(gradients, applies)
        return outputs, self._add_logs("train", recorded)

    def _traced_several(self, update: bool, stacked: Any, count: Any) -> Any:
        def body(i: Any, _: Any) -> tuple[Any, Any]:
            batch = keras.tree.map_structure(lambda rows: rows[i], stacked)
            return i + 1, self._traced_train(update, batch)[1]

        values = tf.zeros((2, len(self.built.entries["train"])))
        return tf.while_loop(lambda i, _: i < count, body, (0, values), parallel_iterations=1)[1]

    def _accumulate(self, gradients: list[Any], update: bool) -> tuple[list[Any], Any]:
        """Accumulate; return the mean gradient and whether to apply it (not if no batch of the group had a loss)."""
        counts = bool(gradients)
        if counts:
            for total, gradient in zip(self._accumulated, gradients, strict=True):
                total.assign_add(gradient)
            self._count.assign_add(1.0)
        if not update:
            return gradients, False
        count = self._count.read_value()
        mean = [total.read_value() / tf.cast(tf.maximum(count, 1.0), total.dtype) for total in self._accumulated]
        for total in self._accumulated:
            total.assign(tf.zeros_like(total))
        self._count.assign(0.0)
        return mean, counts or count > 0

    def _update(self, gradients: list[Any], applies: Any) -> dict[str, Any]:
        """Update the weights (where ``applies``), and return what ``configure_gradients`` logged."""
        with StepLogs(training=True) as logs:
            gradients, finite = process_gradients(self.built, self.options, gradients)
        if finite is not None:
            applies = finite if applies is True else tf.logical_and(applies, finite)

        def applied() -> tf.Tensor:
            apply_gradients(self.built, gradients)
            return tf.constant(True)

        if applies is True:
            applied()
        else:
            tf.cond(applies, applied, lambda: tf.constant(False))
        return logs.recorded()

    def _traced_eval(self, stage: str, batch: Any) -> Any:
        self.traces[stage] += 1
        result = self.built.run(stage, (batch, self._batch_idx[stage].read_value()))
        for variable, value in result.updates:
            variable.assign(value)
        self._add_logs(stage, result.logs.recorded())
        return result.outputs

    # --- logs ---------------------------------------------------------------------------------------------------

    def _add_logs(self, stage: str, recorded: dict[str, tuple[Any, Any]]) -> Any:
        totals, weights = self._sums[stage]
        entries = self.built.entries[stage]
        logged = self.built.stack(stage, recorded)
        if any(entry.on_epoch for entry in entries):
            new = add_to_sums(entries, (totals.read_value(), weights.read_value()), logged)
            totals.assign(new[0])
            weights.assign(new[1])
        self._batch_idx[stage].assign_add(1)
        return logged

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        totals, weights = (np.array(sums, "float32") for sums in initial_sums(self.built.entries[stage], saved))
        if stage not in self._sums:
            self._sums[stage] = (tf.Variable(totals), tf.Variable(weights))
            self._batch_idx[stage] = tf.Variable(0, dtype="int32")
        for variable, sums in zip(self._sums[stage], (totals, weights), strict=True):
            variable.assign(sums)
        self._batch_idx[stage].assign(first_batch)
        if self.options.accumulate_grad_batches > 1 and (added := self.built.saved_gradients(saved)):
            for total, gradient in zip(self._accumulated, added[1:], strict=True):
                total.assign(tf.cast(gradient, total.dtype))
            self._count.assign(added[0])

    # --- state --------------------------------------------------------------------------------------------------

    @staticmethod
    def _numpy(tensor: Any) -> np.ndarray:
        # Keras's conversion of a tf.Variable would make NumPy warn.
        return tensor.numpy() if isinstance(tensor, tf.Variable) else keras.ops.convert_to_numpy(tensor)

    def state_dict(self) -> dict[str, np.ndarray]:
        return {name: as_saved(_array(variable)) for name, variable in self.built.all_variables.items()}

    # --- input --------------------------------------------------------------------------------------------------

    def prefetch(self, batches: Iterable[Any], limit: int | None = None, at_once: int = 1) -> Iterator[Any]:
        # Tensors, as a tf.function is traced again for each Python number and copies a NumPy array in each step. For
        # `train_steps`, which stacks NumPy arrays faster, copies, as a source may reuse its arrays before that.
        form = _tensor if at_once == 1 else _copied
        if at_once > 1 and isinstance(batches, tf.data.Dataset):
            batches = read_at_once(batches, at_once, limit)
        for batch in itertools.islice(batches, limit):
            yield keras.tree.map_structure(form, batch)


def _gradient(variable: tf.Variable, *parts: Any) -> tf.Tensor:
    """The sum of the parts that are not None.

    Zero, not None, for a variable that the loss does not reach: weight decay then acts as under JAX. Dense, as Keras's
    optimizers treat repeated tokens in sparse embedding gradients differently.
    """
    dense = [tf.convert_to_tensor(part) for part in parts if part is not None]
    return tf.add_n(dense) if dense else tf.zeros_like(variable)


def _array(variable: keras.Variable) -> np.ndarray:
    """The value without a copy: before a step writes to a buffer that is still in use, TensorFlow copies it."""
    value = tf.convert_to_tensor(variable.value)
    return value.numpy() if value.dtype == tf.bfloat16 else np.asarray(memoryview(value))


def _copied(array: Any) -> tf.Tensor | np.ndarray:
    return array if isinstance(array, tf.Tensor) else np.array(array)


def _stacked(*leaves: Any) -> tf.Tensor:
    return _tensor(np.stack(leaves)) if isinstance(leaves[0], np.ndarray) else tf.stack(leaves)


def _tensor(array: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(array if hasattr(array, "dtype") else np.asarray(array))  # an int: int64, as declared
    # float64 is NumPy's default; JAX and Keras's own fit convert it to float32 too.
    return tf.cast(tensor, tf.float32) if tensor.dtype == tf.float64 else tensor


def _as_they_are(gradients_and_variables: Any) -> Any:
    return gradients_and_variables
