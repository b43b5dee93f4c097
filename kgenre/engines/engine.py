"""The protocol of an engine: one step of training, evaluation or prediction on one backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections import Counter

    import keras
    import numpy as np

    from kgenre.engines.built_module import BuiltModule
    from kgenre.engines.step_options import StepOptions
    from kgenre.engines.step_part import StepPart


class Engine(Protocol):
    """Runs the steps of one module on one backend and owns their state between steps.

    A stage is "train", "validation", "test" or "predict"; if an evaluation has several sources, each is a stage of its
    own: "validation/0", "validation/1", ... A step enqueues work on the device and returns without waiting. What it
    returns (``outputs``, the step's log values) stays on the device until `to_host`. The module's Keras variables are
    up to date after `sync`, and changes made to them outside the steps take effect with the next `pull`.
    """

    name: str
    traces: Counter[str]  # how often each stage's step was traced: once per shape of batches in a fit or evaluation
    options: StepOptions
    built: BuiltModule
    has_lost_steps: bool  # a failed step destroyed the weights: they are back at the last `sync`

    def build(
        self,
        module: Any,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        batches: Mapping[str, Any],
        parts: Sequence[StepPart] = (),
    ) -> None:
        """Build the module on the shapes of one batch per stage, and take over its state.

        Args:
            module: the user's module.
            optimizers: a pattern for variable names -> the optimizer of these variables (see `optimizer_groups`).
            batches: stage -> one batch.
            parts: compiled into each update, after the optimizers.
        """

    def add_stage(self, stage: str, batch: Any) -> None:
        """Prepare a built module for one more stage; no effect if it is already prepared."""

    def forget_evaluations(self) -> None:
        """Drop all stages but training, and all compiled steps, so that each is traced anew; the state is kept."""

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        """Train on one batch: forward, backward and, with ``update``, the optimizers; else only accumulate gradients.

        Returns:
            What ``training_step`` returned (the loss under "loss"; {} for None), and what it logged: float32 (2, n),
            values and weights in the order of ``built.entries["train"]``.
        """

    def train_steps(self, batches: Sequence[Any], size: int, update: bool = True) -> Any:
        """Train on several batches of one shape, one step each, in one compiled call.

        The results are those of single steps: bit for bit on a CPU (but TensorFlow may round a power differently, as in
        Ftrl and Adafactor, or a chain of additions), while on a GPU this other program may round differently. JAX on a
        GPU runs fewer than ``size`` batches one by one.

        Args:
            batches: at most ``size``.
            size: the same in every call of a fit, as the compiled program depends on it.
            update: as in `train_step`, for each step.

        Returns:
            What the last step logged.
        """

    def why_single_steps(self, batch: Any) -> str | None:
        """The reason not to use `train_steps` for such batches, for a message; None if there is none."""

    def jit_compile(self, wanted: bool) -> None:
        """Compile the steps with XLA from now on, or without; only TensorFlow has this choice."""

    def eval_step(self, stage: str, batch: Any) -> Any:
        """Run an evaluation stage's step on one batch, and return what the user's step returned."""

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        """Reset a stage's sums (or restore them from a ``saved`` `epoch_state`) and set its batch index."""

    def epoch_state(self) -> dict[str, np.ndarray]:
        """The sums of the training epoch so far, by name.

        The sums of logged values (``logs.<name>``: total and weight) and, where gradients are accumulated,
        ``gradients.<variable>`` and ``gradients.count``.
        """

    def epoch_logs(self, stage: str) -> dict[str, float]:
        """The values logged with ``on_epoch`` so far, reduced, in one transfer from the device."""

    def to_host(self, tree: Any) -> Any:
        """The same structure with NumPy arrays, in one transfer, which waits for all previous steps."""

    def sync(self) -> None:
        """Update the Keras variables of the module and the optimizers from the engine's state."""

    def sync_module(self) -> None:
        """Update what hooks may read after each step: the module's variables and the optimizers' update counts."""

    def pull(self) -> None:
        """Take over changes made to the Keras variables (values, ``trainable``) since the last `sync`."""

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        """The current value of one variable (a learning rate, for example), in one transfer."""

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        """Set one variable, with effect from the next step."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every variable of the module and the optimizers, by structural name."""

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what `state_dict` returned; variables missing from ``arrays`` keep their values."""

    def prefetch(self, batches: Iterable[Any], limit: int | None = None, at_once: int = 1) -> Iterator[Any]:
        """Yield the first ``limit`` batches (None: all), transferred to the device ahead of time.

        ``at_once`` is the number that `train_steps` receives: so many are read from a ``tf.data.Dataset`` together.
        """


def create_engine(options: StepOptions) -> Engine:
    """Create the engine for Keras's backend.

    Raises:
        BackendError: kgenre has no engine for it, or its package is not installed.
    """
    from kgenre.engines.backend import prepare_keras

    prepare_keras()
    import keras

    if keras.backend.backend() == "jax":
        from kgenre.engines.jax import JaxEngine

        return JaxEngine(options)
    if keras.backend.backend() == "torch":
        from kgenre.engines.torch import TorchEngine

        return TorchEngine(options)
    from kgenre.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(options)
