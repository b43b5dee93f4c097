"""``precision``: the Keras dtype policy that applies while the model is built."""

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


def check_precision(precision: str | int) -> str:
    """Return a precision's full name ("bf16" is "bf16-mixed"), if it is valid."""
    name = _SHORT.get(str(precision), str(precision))
    if name not in POLICIES:
        raise TrainerError(f"precision must be one of {', '.join(POLICIES)}. Received: {precision!r}")
    return name


@contextmanager
def policy_of(precision: str) -> Iterator[None]:
    """The context in which new layers compute in this precision; afterwards the previous policy is restored."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_model_precision(module: Any, precision: str) -> None:
    """Reject a precision that was set too late: layers read their policy when they are created.

    Raises:
        TrainerError: the module's layers were created under another policy.
    """
    from kgenre.engines.named_variables import all_layers

    layers = [layer for layer in all_layers(module) if layer.weights]
    if layers and not any(layer.dtype_policy.name == POLICIES[precision] for layer in layers):
        found = layers[0].dtype_policy.name
        same = next((name for name, policy in POLICIES.items() if policy == found), None)
        raise TrainerError(
            f"precision={precision!r} was set too late: {type(module).__name__} created its layers in {found} before "
            "the Trainer could set it. Create them in configure_model, or call keras.config.set_dtype_policy("
            f"{POLICIES[precision]!r}) first{f', or use precision={same!r}' if same else ''}."
        )
