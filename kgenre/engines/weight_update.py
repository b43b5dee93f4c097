"""From gradients to new weights, traced into the step: the same on every backend.

Two halves, because the second may be skipped: gradients are always processed, but the optimizers act only if these are
finite (see `LossScale`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgenre.engines.gradient_clipping import clip
from kgenre.engines.loss_scale import all_finite
from kgenre.engines.optimizer_errors import explain_optimizer
from kgenre.engines.step_error import StepError

if TYPE_CHECKING:
    from kgenre.engines.built_module import BuiltModule
    from kgenre.engines.step_options import StepOptions


def process_gradients(built: BuiltModule, options: StepOptions, gradients: Sequence[Any]) -> tuple[list[Any], Any]:
    """Unscale the gradients, apply the module's ``configure_gradients``, and clip.

    Args:
        built: the module.
        options: the step's.
        gradients: the scaled loss's, in the order of `BuiltModule.trainable`.

    Returns:
        The gradients for the optimizers, and whether these may act: a boolean scalar, or None for always.
    """
    trainable, finite = built.trainable, None
    named = dict(zip(trainable, gradients, strict=True))
    next_values = {name: named.pop(name) for name, variable in trainable.items() if is_replaced(variable)}
    gradients = list(named.values())
    if built.loss_scale is not None:
        gradients = built.loss_scale.unscaled(gradients)
        finite = all_finite(gradients)
        built.loss_scale.update(finite)
    gradients = configured(built.module, dict(zip(named, gradients, strict=True)))
    if options.gradient_clip_val is not None:
        gradients = clip(gradients, options.gradient_clip_val, options.gradient_clip_algorithm)
    processed = next_values | dict(zip(named, gradients, strict=True))
    return [processed[name] for name in trainable], finite


def is_replaced(variable: Any) -> bool:
    """Whether the optimizer sets the variable to its "gradient": a scale of a Keras layer quantized to float8."""
    return getattr(variable, "overwrite_with_gradient", False)


def configured(module: Any, gradients: dict[str, Any]) -> list[Any]:
    """Apply the module's ``configure_gradients``, and return the gradients in their original order.

    Raises:
        StepError: it did not return a dict with the same names.
    """
    returned = module.configure_gradients(dict(gradients))
    if not isinstance(returned, Mapping) or set(returned) != set(gradients):
        got = type(returned).__name__
        if isinstance(returned, Mapping):
            missing, extra = set(gradients) - set(returned), set(returned) - set(gradients)
            differences = [f"without {min(missing)!r}"] if missing else []
            differences += [f"with {min(extra)!r}"] if extra else []
            got = f"a dict {' and '.join(differences)}"
        raise StepError(
            f"configure_gradients must return a dict with the same names as the one passed to it. Received: {got}."
        )
    return [returned[name] for name in gradients]


def apply_gradients(built: BuiltModule, gradients: Sequence[Any]) -> None:
    """Let each optimizer update its variables, then call the `StepPart`s.

    Raises:
        StepError: an optimizer of Keras cannot compute with its arguments.
    """
    trainable = built.trainable
    by_name = dict(zip(trainable, gradients, strict=True))
    for optimizer, group in zip(built.optimizers, built.groups, strict=True):
        mine = [name for name in group if name in by_name]
        with explain_optimizer(optimizer):
            optimizer.apply([by_name[name] for name in mine], [trainable[name] for name in mine])
    for part in built.parts:
        part.after_update(by_name)
