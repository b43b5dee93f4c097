"""Creates the optimizers of the film networks, and checks their settings."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any

from kgenre.callbacks import BackboneFinetuning
from kgenre.training import TrainerError

if TYPE_CHECKING:
    from kgenre.models.exact_evaluation import ExactEvaluation
    from kgenre.training import Trainer

OPTIMIZERS = ("adam", "sgd")
_NAMES = 10  # most layer names that an error lists


def check_optimizer(what: str, settings: Any) -> None:
    """Reject settings that `make_optimizer` does not accept.

    Args:
        what: where the settings come from, for the message.
        settings: some of ``optimizer``, ``learning_rate`` and ``weight_decay``.

    Raises:
        TrainerError: an unknown setting, or an invalid value.
    """
    known = {
        "optimizer": lambda value: value in OPTIMIZERS,
        "learning_rate": lambda value: isinstance(value, (int, float)) and 0 < value < math.inf,
        "weight_decay": lambda value: isinstance(value, (int, float)) and 0 <= value < 1,
    }
    if not isinstance(settings, dict) or any(k not in known or not known[k](v) for k, v in settings.items()):
        raise TrainerError(
            f"{what} takes an optimizer ({' or '.join(OPTIMIZERS)}), a finite learning_rate above 0 and a weight_decay "
            f"below 1. Received: {settings}"
        )


def make_optimizer(name: str, learning_rate: Any, weight_decay: float) -> Any:
    """Create Adam, or SGD with momentum 0.9; weights decay as in AdamW, biases and normalisation do not.

    Args:
        name: one of OPTIMIZERS.
        learning_rate: a number or a Keras schedule.
        weight_decay: per step, multiplied by the learning rate; 0 for none.

    Returns:
        A ``keras.optimizers.Optimizer``.
    """
    import keras

    decay = weight_decay or None
    if name == "sgd":
        optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9, weight_decay=decay)
    else:
        optimizer = keras.optimizers.Adam(learning_rate, weight_decay=decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def cosine_rate(learning_rate: float, warmup: float, trainer: Trainer) -> Any:
    """Create a schedule: from 0 up to ``learning_rate`` over a share ``warmup`` of the fit's steps, then down to 0.

    Loshchilov and Hutter (2017), "SGDR" (https://arxiv.org/abs/1608.03983), without restarts.

    Raises:
        TrainerError: the fit has no last step.
    """
    import keras

    steps = trainer.estimated_stepping_batches
    if math.isinf(steps):
        raise TrainerError(
            "schedule='cosine' needs a fit of known length: set --trainer.max_epochs or --trainer.max_steps."
        )
    # Keras rejects a schedule without steps, as for a fit without epochs, and one that is all warm-up.
    steps = max(steps, 1)
    rising = min(round(warmup * steps), steps - 1)
    cosine = keras.optimizers.schedules.CosineDecay
    if not rising:
        return cosine(learning_rate, steps)
    return cosine(0.0, steps - rising, warmup_target=learning_rate, warmup_steps=rising)


def weights_of(module: ExactEvaluation, layer: str) -> str:
    """Return a regular expression for the variable names of the layers that ``layer`` names or fully matches.

    Raises:
        TrainerError: none of them has trainable weights, or ``layer`` is not a valid regular expression.
    """
    from kgenre.engines.named_variables import named_variables

    parts = module.model._flatten_layers()
    try:
        named = [part for part in parts if part.name == layer or re.fullmatch(layer, part.name)]
    except re.error as error:
        raise TrainerError(f"layer_optimizers: {layer!r} is not a valid regular expression ({error}).") from error
    weights = {id(variable) for part in named for variable in part.trainable_variables}
    if not weights and any(part.weights for part in named):
        raise TrainerError(f"layer_optimizers: {layer!r} is frozen (trainable = False): no optimizer trains it.")
    if not weights:
        known = sorted({part.name for part in parts if part.trainable_variables} - {module.model.name})
        if len(known) > _NAMES:  # as in a large nested network
            known = [*difflib.get_close_matches(layer, known, n=_NAMES, cutoff=0), "..."]
        raise TrainerError(f"layer_optimizers must name layers of the network: {', '.join(known)}. Received: {layer!r}")
    return "|".join(re.escape(name) for name, v in named_variables(module).items() if id(v) in weights)


def backbones(module: ExactEvaluation) -> list[str]:
    """Return the layers that the trainer's `BackboneFinetuning` callbacks name: each needs an optimizer of its own."""
    trained = {part.name for part in module.model._flatten_layers() if part.trainable_variables}
    callbacks = module._trainer.callbacks if module._trainer else []
    named = [callback.backbone for callback in callbacks if isinstance(callback, BackboneFinetuning)]
    return [name for name in named if name in trained]
