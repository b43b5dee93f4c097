"""The part of the JAX engine that owns the state: the arrays that its steps take and return."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from kgenre.engines.base_engine import BaseEngine
from kgenre.engines.built_module import as_saved
from kgenre.engines.jax_placement import Placement

State = dict[str, Any]
_log = logging.getLogger("kgenre")
_LARGE = 2**20  # bytes


class ArrayState(BaseEngine):
    """See `kgenre.engines.engine.Engine`.

    The state is a dict of lists of arrays. They are copies of the Keras variables' values, because each step donates
    the state: a donated array that is also used elsewhere raises "Array has been deleted" there. The Keras variables
    are up to date after `sync`; `pull` takes over what was assigned to them since.

    Arrays never change in place, so their identity shows which of the two is newer. For each variable,

    - ``_synced`` has its value as of when it agreed with the state: if it now has another one, a hook has assigned it,
      and `pull` copies it into the state;
    - ``_synced_from`` has the state's array of that moment: if the state now has another one, a step was made since,
      and `sync` copies it to the variable. It may be older than that (after `pull`), at the cost of one more copy.
    """

    _placement: Placement | None
    _state: State  # "trainable", "others", "optimizer": arrays; "sums", "batch_idx", "accumulated": see the engine

    def _divide(self) -> None:
        """Split the variables into trainable and others, and copy their values into the state."""
        totals, count = self._state.get("accumulated", ([], jax.numpy.zeros((), "float32")))
        known = dict(zip(map(id, self._trainable), totals, strict=False))  # empty without accumulation
        super()._divide()
        variables = list(self.built.variables.values())
        self._others = [v for v in variables if not v.trainable]
        self._optimizer_variables = list(self.built.optimizer_variables.values())
        # Positions of the variables that batch hooks may read: the module's, and the counts that schedules depend on.
        counts = {id(optimizer.iterations) for optimizer in self.built.optimizers}
        self._shown = [i for i, v in enumerate(self._all_variables()) if i < len(variables) or id(v) in counts]
        self._synced = [v.value for v in self._all_variables()]
        # Several devices copy all values one by one.
        self._is_small = [self._placement is None and value.nbytes < _LARGE for value in self._synced]
        self._home = _home_of(self._synced) if self._placement is None else self._placement.replicated
        counters = {key: self._state[key] for key in ("sums", "batch_idx") if key in self._state}
        self._state = counters | self._divided(list(map(self._to_state, self._synced)))
        self._synced_from = self._values()
        if self.options.accumulate_grad_batches > 1:
            zeros = map(jax.numpy.zeros_like, self._state["trainable"])
            totals = [known.get(id(v), zero) for v, zero in zip(self._trainable, zeros, strict=True)]
            self._state["accumulated"] = (list(map(self._put, totals)), self._put(count))

    def _all_variables(self) -> list[keras.Variable]:
        return [*self._trainable, *self._others, *self._optimizer_variables]

    def _to_state(self, value: Any) -> jax.Array:
        """Copy a value for the state, to the state's device or devices."""
        return self._put(_copy(value))

    def _put(self, value: jax.Array) -> jax.Array:
        """Move a value to the state's device or devices."""
        # A step's outputs are committed to a device if any of its inputs is, and a step that receives a committed array
        # in place of an uncommitted one is compiled again.
        return value if self._home is None else jax.device_put(value, self._home)

    def _from_state(self, value: jax.Array) -> jax.Array:
        """Copy a value of the state for a Keras variable."""
        return _copy(value if self._placement is None else self._placement.variable(value))

    def _values(self, state: State | None = None) -> list[Any]:
        state = self._state if state is None else state
        return [*state["trainable"], *state["others"], *state["optimizer"]]

    def _divided(self, values: list[Any]) -> State:
        first, second = len(self._trainable), len(self._trainable) + len(self._others)
        return {"trainable": values[:first], "others": values[first:second], "optimizer": values[second:]}

    def sync(self) -> None:
        if any(value.is_deleted() for value in self._values()):
            self._recover_state()
        self.pull()  # keep what a hook has assigned
        values = self._values()
        self._update_variables([i for i, value in enumerate(values) if value is not self._synced_from[i]])
        self._synced_from = values
        self._synced = self._assigned()

    def _assigned(self) -> list[Any]:
        """The values of the Keras variables."""
        return [v._value for v in self._all_variables()]  # `value` takes 3 µs, in each step with a hook of batches

    def _update_variables(self, positions: Sequence[int]) -> None:
        """Assign copies of the state's values to the Keras variables at these positions."""
        variables, values = self._all_variables(), self._values()
        # Small arrays are copied in one compiled call: one by one, that takes longer than a small step. Large ones are
        # copied one by one: all at once, they would need the memory of the state a second time.
        small = [i for i in positions if self._is_small[i]]
        for i, value in zip(small, _copies([values[i] for i in small]), strict=True):
            variables[i].assign(value)
        for i in positions:
            if not self._is_small[i]:
                variables[i].assign(self._from_state(values[i]))

    def sync_module(self) -> None:
        variables, values = self._all_variables(), self._values()
        changed = [i for i in self._shown if values[i] is not self._synced_from[i]]
        self._update_variables(changed)
        for i in changed:
            self._synced[i], self._synced_from[i] = variables[i]._value, values[i]

    def pull(self) -> None:
        assigned = self._assigned()
        changed = [value is not known for value, known in zip(assigned, self._synced, strict=True)]
        if self.built.division != self._division:
            self._update_variables([i for i, new in enumerate(changed) if not new])
            self._divide()
            return
        if not any(changed):
            return
        values = [
            self._to_state(theirs) if new else value
            for theirs, new, value in zip(assigned, changed, self._values(), strict=True)
        ]
        self._state |= self._divided(values)
        self._synced = assigned

    def _recover_state(self) -> None:
        """Rebuild the state from the Keras variables as last synced, after a step that had taken it was interrupted."""
        _log.warning(
            "The interrupted step destroyed JAX's current weights; those of the last validation, epoch end or training "
            "start were restored."
        )
        self.has_lost_steps = True
        self._state.pop("accumulated", None)
        self._divide()
        self.start_epoch("train")

    def _current(self) -> list[Any]:
        """The state's values, except where hooks have assigned new ones, which the next `pull` takes over."""
        triples = zip(self._assigned(), self._synced, self._values(), strict=True)
        return [value if theirs is known else theirs for theirs, known, value in triples]

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        return np.asarray(self._current()[self._position(variable)])

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        position = self._position(variable)
        values = self._values()
        values[position] = self._put(jax.numpy.full(variable.shape, value, variable.dtype))
        self._state |= self._divided(values)
        variable.assign(self._from_state(values[position]))  # a hook may read it
        self._synced[position] = variable._value

    def _position(self, variable: keras.Variable) -> int:
        return next(i for i, v in enumerate(self._all_variables()) if v is variable)

    def state_dict(self) -> dict[str, np.ndarray]:
        values = dict(zip(map(id, self._all_variables()), jax.device_get(self._current()), strict=True))
        return {name: as_saved(values[id(variable)]) for name, variable in self.built.all_variables.items()}


def _copy(value: Any) -> jax.Array:
    # With its dtype: the value of `keras.Variable(1.0)` is weakly typed, what a step returns is not, and a step that
    # receives the one in place of the other is compiled again.
    return jax.numpy.array(value, value.dtype, copy=True)


@jax.jit
def _copies(values: list[jax.Array]) -> list[jax.Array]:
    return list(map(_copy, values))


def _home_of(values: Iterable[jax.Array]) -> Any:
    """The sharding of the first array committed to a device (those created under ``keras.device`` are), or None."""
    return next((value.sharding for value in values if value.committed), None)
