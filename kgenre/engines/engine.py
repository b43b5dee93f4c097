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
    from kgenre.engines.weight_update import StepPart


class Engine(Protocol):
    """Runs the steps of one module on one backend and owns their state between steps.

    A stage is "train", "validation", "test" or "predict"; each of several sources of an evaluation is a stage of its
    own, "validation/0", "validation/1", ... A step enqueues work on the device and returns without waiting. What it
    gives back (``outputs``, the step's log values) stays on the device until `to_host`. The module's Keras variables
    are up to date after `sync`, and changes made to them outside the steps count from the next `pull` on.
    """

    name: str
    traces: Counter[str]  # how often each stage's step was traced; more than once per shape is a defect (torch: never)
    options: StepOptions
    built: BuiltModule
    has_lost_steps: bool  # an error took the weights along: those of the last `sync` are there, of fewer steps

    def build(
        self,
        module: Any,
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        batches: Mapping[str, Any],
        parts: Sequence[StepPart] = (),
    ) -> None:
        """Build the module on the shapes of one batch for each stage, and take over its state.

        Args:
            module: the user's module.
            optimizers: a pattern of names of variables -> their optimizer (see `optimizer_groups`).
            batches: stage -> one batch.
            parts: what is compiled into each update.
        """

    def add_stage(self, stage: str, batch: Any) -> None:
        """Make a built module ready for one more stage, where it is not yet."""

    def train_step(self, batch: Any, update: bool = True) -> tuple[dict[str, Any], Any]:
        """One batch: forward, backward and, with ``update``, the optimizers; else the gradient is only added up.

        Returns:
            What ``training_step`` returned (the loss under "loss"; {} for None), and what it logged: float32 (2, n),
            values and weights in the order of ``built.entries["train"]``.
        """

    def train_steps(self, batches: Sequence[Any], size: int, update: bool = True) -> Any:
        """Several batches of one shape, one step each, in one compiled call: the same as single steps.

        On a CPU to the bit. On a GPU another program may round otherwise, and JAX runs fewer than ``size`` one by one.

        Args:
            batches: at most ``size``.
            size: the same in each call of a fit: what is compiled depends on it.
            update: as in `train_step`, for each of them.

        Returns:
            What the last step logged.
        """

    def why_single_steps(self, batch: Any) -> str | None:
        """Why `train_steps` is not to be used for such batches, as a sentence; None: it may be."""

    def jit_compile(self, wanted: bool) -> None:
        """From now on compile the steps with XLA, or not; only under TensorFlow there is a choice."""

    def eval_step(self, stage: str, batch: Any) -> Any:
        """One batch of an evaluation's stage: what the user's step returned."""

    def start_epoch(self, stage: str, first_batch: int = 0, saved: Mapping[str, np.ndarray] | None = None) -> None:
        """Empty a stage's sums and set its batch index; with what `epoch_state` gave go on adding up there."""

    def epoch_state(self) -> dict[str, np.ndarray]:
        """What the training epoch has added up so far, by name.

        The sums of logged values (``logs.<name>``: total and weight) and, where gradients are accumulated,
        ``gradients.<variable>`` and ``gradients.count``.
        """

    def epoch_logs(self, stage: str) -> dict[str, float]:
        """The values logged with ``on_epoch`` so far, reduced: one transfer."""

    def to_host(self, tree: Any) -> Any:
        """The same structure with NumPy arrays: one transfer, which waits for the steps before it."""

    def sync(self) -> None:
        """Bring the module's and the optimizers' Keras variables up to date."""

    def sync_module(self) -> None:
        """Bring the module's Keras variables and the optimizers' counts of updates up to date, for each step."""

    def pull(self) -> None:
        """Take over what was changed on the Keras variables (values, ``trainable``) since the last `sync`."""

    def get_variable(self, variable: keras.Variable) -> np.ndarray:
        """The current value of one variable (a learning rate): one transfer."""

    def set_variable(self, variable: keras.Variable, value: Any) -> None:
        """Give one variable a value, from the next step on."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every variable of module and optimizers by its structural name."""

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave; names that are absent keep their values."""

    def prefetch(self, batches: Iterable[Any], limit: int | None = None, at_once: int = 1) -> Iterator[Any]:
        """The first ``limit`` batches on the device, handed over ahead of time; None: all.

        For `train_steps`, which runs so many ``at_once``, they are read from a ``tf.data.Dataset`` together.
        """


def create_engine(options: StepOptions) -> Engine:
    """The engine of the backend that Keras runs on.

    Raises:
        BackendError: there is none.
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
