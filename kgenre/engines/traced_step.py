"""Runs a user's step inside a trace, the same way on every backend.

The step runs in a `keras.StatelessScope`: assignments to variables (BatchNorm statistics, seed generators, metrics) are
collected instead of executed, and each engine carries them out in its own way. The scope knows the module's variables,
so mistakes that a compiled step would silently ignore raise the same error on every backend.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Number
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope

from kgenre.engines.constant_seeds import warning_of_constant_seeds
from kgenre.engines.explained_errors import UNSEEDED, explained
from kgenre.engines.layer_modes import warning_of_wrong_mode
from kgenre.engines.named_variables import keras_layers
from kgenre.engines.python_in_steps import Attributes
from kgenre.engines.read_losses import warning_of_read_losses
from kgenre.engines.step_error import StepError
from kgenre.engines.step_logs import StepLogs, read_now

_ONE_AT_A_TIME = threading.RLock()  # what watches a step while its layers are built patches Keras for all threads


@dataclass
class StepResult:
    """The results of one traced run of a step: tensors of the trace, to be returned from the compiled function."""

    loss: Any  # scalar float32, without `weight_penalty`; None: nothing to minimise (see `run_step`)
    outputs: Any  # what the user returned; a bare loss becomes {"loss": loss}, None in training {}
    logs: StepLogs
    updates: list[tuple[keras.Variable, Any]]  # variables that the step assigned, with their new values
    used: list[keras.Variable]  # variables that the step read or assigned


class StepScope(keras.StatelessScope):
    """A stateless scope that records which variables a step uses and rejects those that the module does not hold."""

    def __init__(self, known: Collection[int] | None, state_mapping: Any = None) -> None:
        super().__init__(state_mapping=state_mapping, collect_losses=True)
        self.known = known  # ids; None: all are accepted, while layers are still being built
        self.used: dict[int, keras.Variable] = {}
        self.updated: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """The variable's value in this scope; its own if the scope has none for it, as regularisers need it."""
        self._record(variable)
        value = _value_in_one_scope(self, variable)
        return variable._value if value is None else value

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Collect an assignment."""
        self._record(update[0])
        self.updated[id(update[0])] = update[0]
        super().add_update(update)

    def _record(self, variable: keras.Variable) -> None:
        if self.known is not None:
            check_known(variable, self.known)
        self.used[id(variable)] = variable


_value_in_one_scope = keras.StatelessScope.get_current_value


def _value_in_scopes(scope: keras.StatelessScope, variable: keras.Variable) -> Any:
    """In a scope that a step opens itself (``stateless_call``), look up variables it does not map in the step's scope.

    Keras would read the variable itself, but a step under JAX has its own value for it.
    """
    value, outer = _value_in_one_scope(scope, variable), getattr(scope, "original_scope", None)
    if value is not None or outer is None or current_scope() is None:
        return value
    return outer.get_current_value(variable)


keras.StatelessScope.get_current_value = _value_in_scopes  # outside of a step nothing changes


def current_scope() -> StepScope | None:
    """The scope of the step that is being traced, or None outside a step."""
    scope = get_stateless_scope()
    while scope is not None and not isinstance(scope, StepScope):  # one that the step has opened
        scope = scope.original_scope
    return scope


def check_known(variable: keras.Variable, known: Collection[int]) -> None:
    """Reject a variable that a step uses but the module does not hold."""
    if id(variable) in known:
        return
    if variable.name == "seed_generator_state":
        raise StepError(UNSEEDED)
    raise StepError(
        f"A step uses the variable {variable.path!r}, which the module does not hold: a layer or metric created "
        "inside the step starts from scratch each time, one created in a hook of the fit comes too late, and one held "
        "elsewhere is neither trained nor saved. Create it in __init__ or configure_model and keep it as an attribute "
        "of the module."
    )


CONVOLUTIONS = "convolutions in a compiled loop are slow on a CPU"  # 30 times slower with XLA


def run_step(
    step: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    module: Any,
    training: bool,
    known: Collection[int] | None,
    state_mapping: Any,
    suffix: str,
    weight: float,
) -> StepResult:
    """Call ``step(*arguments)`` in a `StepScope`, and collect its results.

    With ``training`` the step must return a loss, or None to skip the batch; the losses that Keras layers collect
    (activity regularisers, ``add_loss``) are added to it, as in Keras's own training step.

    Raises:
        StepError: the step does something that a compiled step cannot do (see the messages).
    """
    attributes = Attributes.of(module)
    for layer in keras_layers(module):
        # Keras identifies a layer's losses by id, and losses of other layers may reuse the ids of the previous step's.
        layer._clear_losses()
    with (
        _watched(step.__name__, training) if known is None else nullcontext(),
        StepLogs(training, suffix, weight) as logs,
        StepScope(known, state_mapping) as scope,
    ):
        # A copy of the batch's containers: steps may take items out of it, ``batch.pop("labels")``.
        returned = keras.tree.map_structure(read_now, _call(step, keras.tree.map_structure(lambda x: x, arguments)))
        loss, outputs = _loss_and_outputs(returned, step.__name__) if training else (None, returned)
        _check_outputs(outputs, step.__name__)
        if loss is not None:
            for extra in scope.losses:
                loss = loss + ops.cast(extra, "float32")
        updates = [(variable, scope.state_mapping[key]) for key, variable in scope.updated.items()]
    attributes.check(module, step.__name__)
    return StepResult(loss, outputs, logs, updates, list(scope.used.values()))


@contextmanager
def _watched(step: str, training: bool) -> Iterator[None]:
    """Warn of what is likely a mistake in a step; for its first run, in which layers are built."""
    with (
        _ONE_AT_A_TIME,
        warning_of_wrong_mode(step, training),
        warning_of_constant_seeds(step) if training else nullcontext(),
        warning_of_read_losses(step) if training else nullcontext(),
    ):
        yield


def weight_penalty(module: Any) -> Any:
    """The sum of the weights' regularisation penalties, a float32 scalar.

    Computed outside the step, whose own loss must reach a weight: a penalty in it would hide that it reaches none.
    """
    # A layer may be held twice: as an attribute, and inside a model.
    weights = {id(weight): weight for layer in keras_layers(module) for weight in layer.trainable_weights}
    penalties = (w.regularizer(w) for w in weights.values() if w.regularizer is not None)
    return sum((ops.cast(penalty, "float32") for penalty in penalties), start=ops.zeros(()))


def _call(step: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if len(arguments) == 2 and len(takes := inspect.signature(step).parameters.values()) == 1:
        # ``training_step(self, batch)``, as in Lightning
        arguments = arguments if any(p.kind is p.VAR_POSITIONAL for p in takes) else arguments[:1]
    try:
        return step(*arguments)
    except (TypeError, ValueError, IndexError, NotImplementedError, AttributeError) as error:
        if (message := explained(error, step.__name__)) is None:
            raise
        raise StepError(message) from error


def _check_outputs(outputs: Any, step: str) -> None:
    """Refuse what a compiled step cannot return, as the backend's own error would name functions of this package."""
    backend = keras.backend.backend()
    kinds = (Number, np.ndarray, np.generic, *([str] if backend == "tensorflow" else []))
    for path, leaf in keras.tree.flatten_with_path(outputs) if backend != "torch" else ():  # which does not compile
        if not (leaf is None or isinstance(leaf, kinds) or ops.is_tensor(leaf)):
            place = "".join(f"[{key!r}]" for key in path)
            raise StepError(
                f"{step} returned {str(leaf)[:40]!r} ({type(leaf).__name__}) at outputs{place}: under {backend} a "
                "compiled step returns tensors and numbers only. Leave it out."
            )


def _loss_and_outputs(returned: Any, step: str) -> tuple[Any, dict[str, Any]]:
    if returned is None:
        warnings.warn(
            f"{step} returned None: batches of this shape are skipped. If that is not intended, return the loss.",
            stacklevel=2,
        )
        return None, {}
    outputs = dict(returned) if isinstance(returned, Mapping) else {"loss": returned}
    if outputs.get("loss") is None:
        got = f"a dict with the keys {sorted(outputs)}" if isinstance(returned, Mapping) else repr(returned)
        raise StepError(f"{step} must return the loss, or a dict with the loss under 'loss'. Received: {got}.")
    loss = ops.cast(outputs["loss"], "float32")
    if tuple(loss.shape) not in ((), (1,)):
        raise StepError(
            f"{step} must return a scalar loss. Received a tensor of shape {tuple(loss.shape)}; "
            "take its mean with keras.ops.mean."
        )
    return ops.reshape(loss, ()), outputs
