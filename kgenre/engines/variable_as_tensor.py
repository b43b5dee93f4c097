"""Explains errors of backends that get a `keras.Variable` from an operation which does not convert it to a tensor."""

from __future__ import annotations

from kgenre.users_code import described, users_lines

_SIGNS = (
    "Triggering __jax_array__() during abstractification",  # JAX: as an operand or index
    "to a NumPy dtype (via `.dtype` value",  # JAX: in a list or tuple
    "'str' object has no attribute 'base_dtype'",  # TensorFlow: in a list or tuple, or as an index
)


def variable_as_tensor(error: Exception, step: str) -> str | None:
    """The message for such an error, with the user's line; None for other errors and those not from a user's line."""
    lines = users_lines(error.__traceback__)
    if not lines or not any(sign in str(error) for sign in _SIGNS):
        return None
    return (
        f"{step} passes a keras.Variable where only a tensor is accepted, at {described(lines[-1])}. Pass its value, "
        "variable.value: in a list or tuple, as an index, and to operations such as slice_update."
    )
