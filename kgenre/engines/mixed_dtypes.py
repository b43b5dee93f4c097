"""Explains TensorFlow's error about operators between two dtypes, which JAX, torch and `keras.ops` convert."""

from __future__ import annotations

import re

from kgenre.users_code import described, users_lines

_TENSORFLOW = re.compile(r"Input '\w+' of '\w+' Op has type (\w+) that does not match type (\w+) of argument")


def mixed_dtypes(error: Exception, step: str) -> str | None:
    """The message for such an error, with the user's line; None for other errors and those not from a user's line."""
    found, lines = _TENSORFLOW.search(str(error)), users_lines(error.__traceback__)
    if found is None or not lines:
        return None
    return (
        f"{step} combines tensors of {found[2]} and {found[1]} at {described(lines[-1])}, but TensorFlow's "
        "operators do not convert dtypes. Use keras.ops, which does (keras.ops.subtract(a, b) for a - b), or convert "
        "one of the tensors with keras.ops.cast."
    )
