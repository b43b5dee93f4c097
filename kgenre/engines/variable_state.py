"""The part of an engine that TensorFlow and torch share: the steps' state is in the Keras variables themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.engines.built_module import BuiltModule, as_saved
from kgenre.engines.step_logs import named_sums, read_sums
from kgenre.engines.step_options import StepOptions


class VariableState:
    """See `kgenre.engines.engine.Engine`. The Keras variables are always up to date."""

    built: BuiltModule
    has_lost_steps = False
    options: StepOptions
    _sums: dict[str, tuple[Any, Any]]  # stage -> totals and weights of what is logged
    _accumulated: list[Any]  # with accumulation: the sums of the trainable variables' gradients
    _count: Any  # the number of batches in these sums

    def epoch_state(self) -> dict[str, np.ndarray]:
        state = named_sums(self.built.entries["train"], *self.to_host(self._sums["train"]))
        if self.options.accumulate_grad_batches > 1:
            state |= self.built.named_gradients(map(self._numpy, self._accumulated), self._numpy(self._count))
        return state

    def epoch_logs(self, stage: str) -> dict[str, float]:
        return read_sums(self.built.entries[stage], *self.to_host(self._sums[stage]))

    def to_host(self, tree: Any) -> Any:
        return keras.tree.map_structure(lambda x: self._numpy(x) if hasattr(x, "numpy") else x, tree)

    @staticmethod
    def _numpy(tensor: Any) -> np.ndarray:
        return ops.convert_to_numpy(tensor)

    def sync(self) -> None:
        """Nothing to do: the steps change the Keras variables in place."""

    def sync_module(self) -> None:
        """Nothing to do either."""

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        return self._numpy(variable.value)

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        variable.assign(value)

    def state_dict(self) -> dict[str, np.ndarray]:
        named = self.built.variables | self.built.optimizer_variables
        return {name: as_saved(self._numpy(variable.value)) for name, variable in named.items()}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        named = self.built.variables | self.built.optimizer_variables
        for name, array in arrays.items():
            if name in named:
                named[name].assign(array)
