"""The JAX engine: pure functions over a state that the engine owns and donates."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np

from kgenre.engines.built_module import KEPT_DIVISIONS, Division
from kgenre.engines.explained_errors import ASSIGNED_IN_BRANCH
from kgenre.engines.jax_compiler_options import compiler_options
from kgenre.engines.jax_placement import Placement
from kgenre.engines.jax_reach import Reach
from kgenre.engines.jax_state import ArrayState, State
from kgenre.engines.step_error import StepError
from kgenre.engines.step_logs import StepLogs, add_to_sums, initial_sums, named_sums, read_sums
from kgenre.engines.step_options import StepOptions
from kgenre.engines.traced_step import CONVOLUTIONS, StepScope, weight_penalty
from kgenre.engines.weight_update import apply_gradients, process_gradients
from kgenre.kernels.divided_batch import divided_batch
from kgenre.kernels.jax_platform import platform
from kgenre.kernels.read_at_once import read_at_once

_WAIT_EVERY = 8  # steps; at most twice as many are in flight


class JaxEngine(ArrayState):
    """See `kgenre.engines.engine.Engine`."""

    name = "jax"

    def __init__(self, options: StepOptions) -> None:
        super().__init__(options)
        self._placement = Placement(options.devices) if options.devices else None
        self._stages: dict[str, State] = {}  # evaluations' sums and batch indices; training's are in `_state`
        self._state: State = {}
        self._compiled: dict[Division, tuple[Any, ...]] = {}
        self._enqueued = 0
        self._waited_for: jax.Array | None = None

    def _divide(self) -> None:
        super()._divide()
        self._use_steps()

    def forget_evaluations(self) -> None:
        super().forget_evaluations()
        self._compiled.clear()
        self._use_steps()

    def _use_steps(self) -> None:
        """Use the steps compiled for this division of the variables."""
        if self._division not in self._compiled:
            if len(self._compiled) == KEPT_DIVISIONS:
                self._compiled.clear()
            counted = ("update", "count") if self._static_loop_count else "update"
            self._compiled[self._division] = (
                self._jit(self._traced_train, trains=True, donate_argnums=0, static_argnames="update"),
                self._jit(self._traced_several, trains=True, donate_argnums=0, static_argnames=counted),
                self._jit(self._traced_eval, trains=False, donate_argnums=1, static_argnames="stage"),
            )
        self._train, self._train_several, self._eval = self._compiled[self._division]

    def _jit(self, step: Any, trains: bool, **arguments: Any) -> Any:
        # JAX shares traces between equal functions, as a bound method is of itself, but a trace is for one division.
        return jax.jit(functools.partial(step), compiler_options=compiler_options(self.options, trains), **arguments)

    # --- steps --------------------------------------------------------------------------------------------------

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        self._state, outputs, values = self._stepped(self._train, self._state, batch, update=update)
        self._wait_sometimes(values)
        return outputs, values

    def _wait_sometimes(self, values: Any) -> None:
        # Steps queue up on the device, each with its batch: unbounded, memory grows and the progress bar runs ahead.
        self._enqueued += 1
        if self._enqueued % _WAIT_EVERY == 0:
            if self._waited_for is not None:
                self._waited_for.block_until_ready()
            self._waited_for = values

    @property
    def _static_loop_count(self) -> bool:
        # On a GPU the host launches each iteration of a loop; unless the program contains their number, it has to ask
        # the device each time whether to go on. On a CPU one program for any number of steps is worth more.
        return platform() != "cpu"

    def train_steps(self, batches: Sequence[Any], size: int, update: bool = True) -> Any:
        if self._static_loop_count and len(batches) < size:  # don't compile another program for the last few
            return [self.train_step(batch, update)[1] for batch in batches][-1]
        padded = [*batches, *[batches[-1]] * (size - len(batches))]
        if isinstance(keras.tree.flatten(batches[0])[0], np.ndarray):
            padded = [jax.tree.map(lambda *leaves: np.stack(leaves), *padded)]
        several = self._train_several
        self._state, values = self._stepped(several, self._state, padded, count=len(batches), update=update)
        self._wait_sometimes(values)
        return values

    def why_single_steps(self, batch: Any) -> str | None:
        if platform() != "cpu":
            return None
        (batch,) = self.prefetch([batch])
        traced = self._train.trace(self._state, batch, update=True)
        return CONVOLUTIONS if "conv_general_dilated" in str(traced.jaxpr) else None

    def eval_step(self, stage: str, batch: Any) -> Any:
        values = self._values()
        evaluated = self._stepped(self._eval, values, self._stages[stage], batch, stage=stage)
        updates, self._stages[stage], outputs = evaluated
        if updates:
            for position, value in updates.items():
                values[position] = value
            self._state |= self._divided(values)
        return outputs

    @staticmethod
    def _stepped(step: Any, *arguments: Any, **static: Any) -> Any:
        try:
            return step(*arguments, **static)
        except jax.errors.UnexpectedTracerError as error:
            raise StepError(ASSIGNED_IN_BRANCH) from error

    def _traced_train(self, state: State, batch: Any, update: bool) -> tuple[State, dict[str, Any], Any]:
        self.traces["train"] += 1
        self.built.check_optimized()
        variables = self._all_variables()
        before = dict(zip(map(id, variables), self._values(state), strict=True))

        reach = Reach()

        def loss_of(trainable: list[Any]) -> tuple[Any, Any]:
            values = before | dict(zip(map(id, self._trainable), reach.mark(trainable), strict=True))
            result = self.built.run("train", (batch, state["batch_idx"]), [(v, values[id(v)]) for v in variables])
            updates = {id(variable): value for variable, value in result.updates}
            if result.loss is None:
                return jax.numpy.zeros(()), (updates, {}, result.logs.recorded())
            with self._scope(before | dict(zip(map(id, self._trainable), trainable, strict=True))):  # not marked
                loss = result.loss + weight_penalty(self.built.module)
                scaled = self.built.scaled(loss)
            return scaled, (updates, result.outputs | {"loss": loss}, result.logs.recorded())

        differentiated = jax.value_and_grad(loss_of, has_aux=True)
        with divided_batch(self._placement and self._placement.mesh):
            (_, (updates, outputs, recorded)), gradients = differentiated(state["trainable"])
        if outputs and not reach.found:
            self.built.raise_no_gradient()
        # A step may assign trainable variables too (a constraint, say): the optimizer starts from the assigned value.
        values = before | updates
        new: State = {"batch_idx": state["batch_idx"] + 1}
        counts = bool(outputs)  # False where the step returned None
        applies: Any = counts
        if self.options.accumulate_grad_batches > 1:
            total, count = state["accumulated"]
            gradients, count = [a + g for a, g in zip(total, gradients, strict=True)], count + counts
            new["accumulated"] = (gradients, count)
            if update:
                gradients = [g / jax.numpy.maximum(count, 1).astype(g.dtype) for g in gradients]
                new["accumulated"] = ([jax.numpy.zeros_like(g) for g in gradients], count * 0)  # not g * 0: NaN for inf
                applies = counts or count > 0
        if update and applies is not False:
            values, logged = self._update(values, gradients, applies)
            recorded |= logged
        step = self.built.stack("train", recorded)
        new["sums"] = add_to_sums(self.built.entries["train"], state["sums"], step)
        after = [_strongly_typed(values[id(v)]) for v in variables]
        if self._placement is not None:  # else XLA may shard the state as well
            after = list(map(self._placement.state, after))
        return new | self._divided(after), outputs, step

    def _traced_several(self, state: State, batches: list[Any], count: Any, update: bool) -> tuple[State, Any]:
        """``batches``: a list of one batch, already stacked on the host, or of batches on the device, stacked here."""
        stacked = batches[0] if len(batches) == 1 else jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *batches)

        def body(i: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            batch = jax.tree.map(lambda rows: jax.lax.dynamic_index_in_dim(rows, i, keepdims=False), stacked)
            new, _, values = self._traced_train(carry[0], batch, update)
            return new, values

        values = jax.numpy.zeros((2, len(self.built.entries["train"])), "float32")
        return jax.lax.fori_loop(0, count, body, (state, values))

    def _scope(self, values: dict[int, Any]) -> StepScope:
        """A scope in which the variables have these values."""
        return StepScope(self.built.known, [(v, values[id(v)]) for v in self._all_variables()])

    def _update(self, values: dict[int, Any], gradients: list[Any], applies: Any) -> tuple[dict[int, Any], Any]:
        """The values after an update (done only where ``applies``), and what ``configure_gradients`` logged."""
        variables = self._all_variables()

        def values_in(scope: StepScope) -> list[Any]:
            return list(map(scope.get_current_value, variables))

        with StepLogs(training=True) as logs, self._scope(values) as scope:
            gradients, finite = process_gradients(self.built, self.options, gradients)
            before = values_in(scope)

        def applied() -> list[Any]:
            with self._scope(dict(zip(map(id, variables), before, strict=True))) as scope:
                apply_gradients(self.built, gradients)
                return values_in(scope)

        if finite is not None:
            applies = finite if applies is True else jax.numpy.logical_and(applies, finite)
        after = applied() if applies is True else jax.lax.cond(applies, applied, lambda: before)
        return dict(zip(map(id, variables), after, strict=True)), logs.recorded()

    def _traced_eval(
        self, values: list[Any], counters: State, batch: Any, stage: str
    ) -> tuple[dict[int, Any], State, Any]:
        self.traces[stage] += 1
        mapping = zip(self._all_variables(), values, strict=True)
        result = self.built.run(stage, (batch, counters["batch_idx"]), list(mapping))
        changed = {id(variable): value for variable, value in result.updates}
        # Return only what the step assigned: returning all weights would copy them for each batch.
        variables = enumerate(self._all_variables())
        updates = {i: _strongly_typed(changed[id(v)]) for i, v in variables if id(v) in changed}
        counters = {
            "sums": add_to_sums(
                self.built.entries[stage], counters["sums"], self.built.stack(stage, result.logs.recorded())
            ),
            "batch_idx": counters["batch_idx"] + 1,
        }
        return updates, counters, result.outputs

    # --- logs ---------------------------------------------------------------------------------------------------

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        totals, weights = initial_sums(self.built.entries[stage], saved)
        counters = self._state if stage == "train" else self._stages.setdefault(stage, {})
        counters["sums"] = (self._put(_float32(totals)), self._put(_float32(weights)))
        counters["batch_idx"] = self._put(jax.numpy.asarray(first_batch, "int32"))
        if "accumulated" in self._state and (added := self.built.saved_gradients(saved)):
            pairs = zip(self._state["accumulated"][0], added[1:], strict=True)
            gradients = [self._to_state(gradient.astype(zero.dtype)) for zero, gradient in pairs]
            self._state["accumulated"] = (gradients, self._put(jax.numpy.array(added[0])))

    def epoch_state(self) -> dict[str, np.ndarray]:
        state = named_sums(self.built.entries["train"], *jax.device_get(self._state["sums"]))
        if "accumulated" in self._state:
            state |= self.built.named_gradients(*jax.device_get(self._state["accumulated"]))
        return state

    def epoch_logs(self, stage: str) -> dict[str, float]:
        counters = self._state if stage == "train" else self._stages[stage]
        return read_sums(self.built.entries[stage], *jax.device_get(counters["sums"]))

    def to_host(self, tree: Any) -> Any:
        return jax.device_get(tree)

    # --- input --------------------------------------------------------------------------------------------------

    def prefetch(self, batches: Iterable[Any], limit: int | None = None, at_once: int = 1) -> Iterator[Any]:
        if hasattr(batches, "as_numpy_iterator"):  # a tf.data.Dataset: read-only views, no copies
            batches = batches.as_numpy_iterator() if at_once == 1 else read_at_once(batches, at_once, limit)
        else:
            # Copies: a source may reuse its arrays while the step that reads them is still queued. `jax.tree.map`, as
            # Keras's takes three times as long.
            batches = (jax.tree.map(_array, batch) for batch in batches)
        batches = itertools.islice(batches, limit)
        if self._placement is not None:
            batches = map(self._placement.batch, batches)
        if platform() == "cpu":  # passing NumPy arrays to the compiled step is faster than device_put
            yield from batches
            return
        ahead: deque[Any] = deque()
        for batch in batches:
            ahead.append(jax.device_put(batch))
            if len(ahead) == 2:  # one is transferred while the other is computed on
                yield ahead.popleft()
        yield from ahead


def _array(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.Array) else np.array(leaf)  # arrays on the device stay there


def _strongly_typed(value: Any) -> Any:
    # What `ops.where(condition, 1.0, 0.0)` returns is weakly typed; assigned to a variable, it would make the next step
    # be compiled again.
    return jax.lax.convert_element_type(value, value.dtype)


def _float32(values: list[float]) -> jax.Array:
    return jax.numpy.asarray(values, "float32")
