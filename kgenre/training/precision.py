"""``precision``: the Keras dtype policy that acts while the model is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kgenre.training.errors import TrainerError

POLICIES = {
    "32-true": "float32",
    "bf16-mixed": "mixed_bfloat16",
    "16-mixed": "mixed_float16",
    "bf16-true": "bfloat16",
}
_SHORT = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def check_precision(precision: str) -> str:
    """The precision's name, if it is one."""
    precision = _SHORT.get(str(precision), str(precision))
    if precision not in POLICIES:
        raise TrainerError(f"precision is one of {', '.join(POLICIES)}. Received: {precision}")
    return precision


@contextmanager
def policy_of(precision: str) -> Iterator[None]:
    """Layers created inside compute in this precision; afterwards the policy is what it was."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_model_precision(module: Any, precision: str) -> None:
    """Refuse a precision that came too late: layers read their policy when they are created.

    Raises:
        TrainerError: the module's layers were made under another policy.
    """
    from kgenre.engines.named_variables import keras_layers

    layers = [part for layer in keras_layers(module) for part in layer._flatten_layers() if part.weights]
    if layers and not any(part.dtype_policy.name == POLICIES[precision] for part in layers):
        found = layers[0].dtype_policy.name
        same = next((name for name, policy in POLICIES.items() if policy == found), None)
        raise TrainerError(
            f"precision={precision!r} came too late: {type(module).__name__} built its layers in {found} before the "
            f"Trainer could act. Create them in configure_model, or call keras.config.set_dtype_policy("
            f"{POLICIES[precision]!r}) first{f', or give precision={same!r}' if same else ''}."
        )
