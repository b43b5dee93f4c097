"""An operator between tensors of two dtypes: TensorFlow refuses it where JAX, torch and `keras.ops` convert."""

from __future__ import annotations

import re

from kgenre.users_code import described, users_lines

_TENSORFLOW = re.compile(r"Input '\w+' of '\w+' Op has type (\w+) that does not match type (\w+) of argument")


def mixed_dtypes(error: Exception, step: str) -> str | None:
    """What to say of such an error, with the line that computes; None: it is another, or no line of the user's."""
    found, lines = _TENSORFLOW.search(str(error)), users_lines(error.__traceback__)
    if found is None or not lines:
        return None
    return (
        f"{step} computes with tensors of {found[2]} and {found[1]} at {described(lines[-1])}, and TensorFlow's "
        "operators convert neither. Write it with keras.ops (keras.ops.subtract(a, b) for a - b), which does, or "
        "convert one with keras.ops.cast."
    )
