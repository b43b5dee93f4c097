"""The JAX engine: pure functions over a state that the engine owns and donates."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np

from kgenre.engines import gradients as gradient_rules
from kgenre.engines.built_module import BuiltModule, build_module, build_stage
from kgenre.engines.step_logs import add_to_sums, initial_sums, read_sums
from kgenre.engines.step_options import StepOptions
from kgenre.engines.traced_step import ASSIGNED_IN_BRANCH, StepError, StepScope

State = dict[str, Any]
_WAIT_EVERY = 8  # steps; at most twice as many are under way


class JaxEngine:
    """See `kgenre.engines.engine.Engine`.

    The state is a dict of lists of arrays, copies of the Keras variables' values: a step donates it, and a donated
    array that somebody else still held would raise "Array has been deleted" there.
    """

    name = "jax"
    built: BuiltModule

    def __init__(self, options: StepOptions) -> None:
        self.options = options
        self.traces: Counter[str] = Counter()
        self._stages: dict[str, State] = {}  # sums and batch index of the evaluations; training's are in the state
        self._state: State = {}
        self._enqueued = 0
        self._waited_for: jax.Array | None = None

    # --- building -----------------------------------------------------------------------------------------------

    def build(self, module: Any, optimizers: Sequence[keras.optimizers.Optimizer], batches: Mapping[str, Any]) -> None:
        self.built = build_module(module, optimizers, batches)
        self._optimizer_variables = list(self.built.optimizer_variables.values())
        self._compile()
        for stage in batches:
            self.start_epoch(stage)

    def add_stage(self, stage: str, batch: Any) -> None:
        if stage not in self.built.entries:
            self.sync()
            variables = list(self.built.variables)
            build_stage(self.built, stage, batch)
            if list(self.built.variables) != variables:
                self._compile()
            self.start_epoch(stage)

    def _compile(self) -> None:
        """Divide the variables by what gets gradients, and make the compiled functions for this division."""
        variables = list(self.built.variables.values())
        self._trainable = [v for v in variables if v.trainable]
        self._others = [v for v in variables if not v.trainable]
        self._division = [v.trainable for v in variables]
        self._train = jax.jit(self._traced_train, donate_argnums=0, static_argnames="update")
        self._eval = jax.jit(self._traced_eval, donate_argnums=1, static_argnames="stage")
        counters = {key: self._state[key] for key in ("sums", "batch_idx") if key in self._state}
        self._state = counters | {
            "trainable": [_copy(v.value) for v in self._trainable],
            "others": [_copy(v.value) for v in self._others],
            "optimizer": [_copy(v.value) for v in self._optimizer_variables],
        }
        if self.options.accumulate_grad_batches > 1:
            zeros = [jax.numpy.zeros_like(value) for value in self._state["trainable"]]
            self._state["accumulated"] = (zeros, jax.numpy.zeros((), "float32"))
        self._synced = [v.value for v in self._held()]

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        try:
            self._state, outputs, values = self._train(self._state, batch, update=update)
        except jax.errors.UnexpectedTracerError as error:
            raise StepError(ASSIGNED_IN_BRANCH) from error
        # Steps queue up on the device, each with its batch: unbounded, memory and the progress bar would run away.
        self._enqueued += 1
        if self._enqueued % _WAIT_EVERY == 0:
            if self._waited_for is not None:
                self._waited_for.block_until_ready()
            self._waited_for = values
        return outputs, values

    def eval_step(self, stage: str, batch: Any) -> Any:
        weights = [self._state[part] for part in ("trainable", "others", "optimizer")]
        try:
            updates, self._stages[stage], outputs = self._eval(weights, self._stages[stage], batch, stage=stage)
        except jax.errors.UnexpectedTracerError as error:
            raise StepError(ASSIGNED_IN_BRANCH) from error
        for position, value in updates.items():
            self._state["others"][position] = value
        return outputs

    def _traced_train(self, state: State, batch: Any, update: bool) -> tuple[State, dict[str, Any], Any]:
        self.traces["train"] += 1
        self.built.check_optimized()
        others = list(zip(self._others, state["others"], strict=True))
        optimizer = list(zip(self._optimizer_variables, state["optimizer"], strict=True))

        def loss_of(trainable: list[Any]) -> tuple[Any, Any]:
            mapping = [*zip(self._trainable, trainable, strict=True), *others, *optimizer]
            result = self.built.run("train", (batch, state["batch_idx"]), mapping)
            updates = {id(variable): value for variable, value in result.updates}
            return result.loss, (updates, result.outputs, result.logs.stack())

        (loss, (updates, outputs, logged)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["trainable"])
        # A step may assign trainable variables too (a constraint by hand): what the optimizer sees is the new value.
        trainable = [updates.get(id(v), value) for v, value in zip(self._trainable, state["trainable"], strict=True)]
        new = {
            "trainable": trainable,
            "others": [updates.get(id(v), value) for v, value in others],
            "optimizer": state["optimizer"],
            "sums": add_to_sums(self.built.entries["train"], state["sums"], *logged),
            "batch_idx": state["batch_idx"] + 1,
        }
        if self.options.accumulate_grad_batches > 1:
            total, count = state["accumulated"]
            gradients = [a + g for a, g in zip(total, gradients, strict=True)]
            count = count + 1
            new["accumulated"] = (gradients, count)
            if update:
                gradients = [g / count.astype(g.dtype) for g in gradients]
                new["accumulated"] = ([g * 0 for g in gradients], count * 0)
        if update:
            new["trainable"], new["optimizer"] = self._apply(trainable, state["optimizer"], gradients)
        # The loss on its own: with regularisation in it, it is what was minimised.
        return new, outputs | {"loss": loss}, logged[0]

    def _apply(self, trainable: list[Any], optimizer: list[Any], gradients: list[Any]) -> tuple[list[Any], list[Any]]:
        if self.options.gradient_clip_val is not None:
            gradients = gradient_rules.clip(
                gradients, self.options.gradient_clip_val, self.options.gradient_clip_algorithm
            )
        mapping = [
            *zip(self._trainable, trainable, strict=True),
            *zip(self._optimizer_variables, optimizer, strict=True),
        ]
        with StepScope(self.built.known, mapping) as scope:
            for keras_optimizer in self.built.optimizers:
                keras_optimizer.apply(gradients, self._trainable)
            return (
                [scope.get_current_value(v) for v in self._trainable],
                [scope.get_current_value(v) for v in self._optimizer_variables],
            )

    def _traced_eval(
        self, weights: list[list[Any]], counters: State, batch: Any, stage: str
    ) -> tuple[dict[int, Any], State, Any]:
        self.traces[stage] += 1
        mapping = zip(self._held(), [value for part in weights for value in part], strict=True)
        result = self.built.run(stage, (batch, counters["batch_idx"]), list(mapping))
        changed = {id(variable): value for variable, value in result.updates}
        # Only what the step assigned goes out: returning all weights would copy them each batch.
        updates = {i: changed[id(v)] for i, v in enumerate(self._others) if id(v) in changed}
        counters = {
            "sums": add_to_sums(self.built.entries[stage], counters["sums"], *result.logs.stack()),
            "batch_idx": counters["batch_idx"] + 1,
        }
        return updates, counters, result.outputs

    # --- logs ---------------------------------------------------------------------------------------------------

    def start_epoch(self, stage: str, first_batch: int = 0) -> None:
        totals, weights = initial_sums(self.built.entries[stage])
        counters = self._state if stage == "train" else self._stages.setdefault(stage, {})
        counters["sums"] = (_float32(totals), _float32(weights))
        counters["batch_idx"] = jax.numpy.asarray(first_batch, "int32")

    def epoch_logs(self, stage: str) -> dict[str, float]:
        counters = self._state if stage == "train" else self._stages[stage]
        return read_sums(self.built.entries[stage], *jax.device_get(counters["sums"]))

    def to_host(self, tree: Any) -> Any:
        return jax.device_get(tree)

    # --- state --------------------------------------------------------------------------------------------------

    def _held(self) -> list[keras.Variable]:
        return [*self._trainable, *self._others, *self._optimizer_variables]

    def _values(self) -> list[Any]:
        return [*self._state["trainable"], *self._state["others"], *self._state["optimizer"]]

    def sync(self) -> None:
        self.pull()  # what was assigned in a hook stays
        for variable, value in zip(self._held(), self._values(), strict=True):
            variable.assign(_copy(value))
        self._synced = [v.value for v in self._held()]

    def pull(self) -> None:
        # Arrays never change in place: another object in a variable means that somebody assigned it.
        changed = [v.value is not known for v, known in zip(self._held(), self._synced, strict=True)]
        if [v.trainable for v in self.built.variables.values()] != self._division:
            self._write_unchanged(changed)
            self._compile()
            return
        if not any(changed):
            return
        values = [
            _copy(v.value) if new else value
            for v, new, value in zip(self._held(), changed, self._values(), strict=True)
        ]
        first, second = len(self._trainable), len(self._trainable) + len(self._others)
        self._state |= {
            "trainable": values[:first],
            "others": values[first:second],
            "optimizer": values[second:],
        }
        self._synced = [v.value for v in self._held()]

    def _write_unchanged(self, changed: list[bool]) -> None:
        for variable, new, value in zip(self._held(), changed, self._values(), strict=True):
            if not new:
                variable.assign(_copy(value))

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        return np.asarray(self._values()[self._position(variable)])

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        position = self._position(variable)
        for part in ("trainable", "others", "optimizer"):
            if position < len(self._state[part]):
                self._state[part][position] = jax.numpy.full(variable.shape, value, variable.dtype)
                return
            position -= len(self._state[part])

    def _position(self, variable: keras.Variable) -> int:
        return next(i for i, held in enumerate(self._held()) if held is variable)

    def state_dict(self) -> dict[str, np.ndarray]:
        values = dict(zip(map(id, self._held()), jax.device_get(self._values()), strict=True))
        named = self.built.variables | self.built.optimizer_variables
        return {name: np.asarray(values[id(variable)]) for name, variable in named.items()}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.sync()
        named = self.built.variables | self.built.optimizer_variables
        for name, array in arrays.items():
            if name in named:
                named[name].assign(array)
        self.pull()

    # --- input --------------------------------------------------------------------------------------------------

    def prefetch(self, batches: Iterable[Any], limit: int | None = None) -> Iterator[Any]:
        if hasattr(batches, "as_numpy_iterator"):  # a tf.data.Dataset: read-only views, no copies
            batches = batches.as_numpy_iterator()
        batches = (keras.tree.map_structure(np.asarray, batch) for batch in itertools.islice(batches, limit))
        if jax.default_backend() == "cpu":  # the compiled step takes NumPy arrays faster than device_put does
            yield from batches
            return
        ahead: deque[Any] = deque()
        for batch in batches:
            ahead.append(jax.device_put(batch))
            if len(ahead) == 2:  # one on its way while the other is computed on
                yield ahead.popleft()
        yield from ahead


def _copy(value: Any) -> jax.Array:
    return jax.numpy.array(value, copy=True)


def _float32(values: list[float]) -> jax.Array:
    return jax.numpy.asarray(values, "float32")
