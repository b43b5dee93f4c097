"""What the engines share. The steps' state is in the Keras variables themselves; JAX's is not: see `ArrayState`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kgenre.engines.build_module import build_module, build_stage
from kgenre.engines.built_module import BuiltModule, as_saved
from kgenre.engines.step_logs import named_sums, read_sums
from kgenre.engines.step_options import StepOptions
from kgenre.engines.step_part import StepPart


class BaseEngine:
    """See `kgenre.engines.engine.Engine`."""

    built: BuiltModule
    has_lost_steps = False
    _sums: dict[str, tuple[Any, Any]]  # stage -> totals and weights of what is logged
    _accumulated: list[Any]  # with accumulation: the sums of the trainable variables' gradients
    _count: Any  # the number of batches in these sums

    def __init__(self, options: StepOptions) -> None:
        self.options = options
        self.traces: Counter[str] = Counter()
        self._trainable: list[keras.Variable] = []
        self._accumulated = []

    def build(
        self,
        module: Any,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        batches: Mapping[str, Any],
        parts: Sequence[StepPart] = (),
    ) -> None:
        self.built = build_module(module, optimizers, batches, self.options, parts)
        self._divide()
        for stage in batches:
            self.start_epoch(stage)

    def add_stage(self, stage: str, batch: Any) -> None:
        if stage not in self.built.entries:
            build_stage(self.built, stage, batch)
            self.pull()
            self.start_epoch(stage)

    def forget_evaluations(self) -> None:
        self.built.forget_evaluations()

    def _divide(self) -> None:
        """Find the trainable variables, and use the steps that train these."""
        self._division = self.built.division
        self._trainable = list(self.built.trainable.values())

    def jit_compile(self, wanted: bool) -> None:
        """There is no choice: JAX always compiles, torch never."""

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        raise NotImplementedError

    def epoch_state(self) -> dict[str, np.ndarray]:
        state = named_sums(self.built.entries["train"], *self.to_host(self._sums["train"]))
        if self.options.accumulate_grad_batches > 1:
            state |= self.built.named_gradients(*self.to_host((self._accumulated, self._count)))
        return state

    def epoch_logs(self, stage: str) -> dict[str, float]:
        return read_sums(self.built.entries[stage], *self.to_host(self._sums[stage]))

    def to_host(self, tree: Any) -> Any:
        return keras.tree.map_structure(lambda x: self._numpy(x) if hasattr(x, "numpy") else x, tree)

    @staticmethod
    def _numpy(tensor: Any) -> np.ndarray:
        return keras.ops.convert_to_numpy(tensor)

    def sync(self) -> None:
        """Nothing to do: the steps change the Keras variables in place."""

    def sync_module(self) -> None:
        """Nothing to do either."""

    def pull(self) -> None:
        if self.built.division != self._division:
            self._divide()

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        return self._numpy(variable.value)

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        variable.assign(value)

    def state_dict(self) -> dict[str, np.ndarray]:
        return {name: as_saved(self._numpy(variable.value)) for name, variable in self.built.all_variables.items()}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.sync()
        self.has_lost_steps = False
        variables = self.built.all_variables
        for name, array in arrays.items():
            if name in variables:
                variables[name].assign(array)
        self.pull()
