"""Explains errors of Python code in a step that reads a tensor's values, which do not exist while it is compiled."""

from __future__ import annotations

import traceback
from pathlib import Path

from kgenre.users_code import described, users_lines

_JAX = {
    "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
}
_LOOKUPS = {"index_lookup.py", "integer_lookup.py", "string_lookup.py", "text_vectorization.py"}  # of Keras
_TENSORFLOW = (
    "Cannot convert a symbolic tf.Tensor",
    "Using a symbolic `tf.Tensor`",
    "Iterating over a symbolic `tf.Tensor`",
    "len is not well defined for a symbolic Tensor",
    "not 'SymbolicTensor'",  # float() and int()
    "'SymbolicTensor' object has no attribute 'numpy'",
    "'SymbolicTensor' object has no attribute 'item'",
    "'SymbolicTensor' object has no attribute 'tolist'",
    "'SymbolicTensor' object cannot be interpreted as an integer",
)


def value_in_python(error: Exception, step: str) -> str | None:
    """The message for such an error, with the user's line; None for other errors and those not from a user's line."""
    # Keras creates JAX's errors again to extend their messages, which fails with another error.
    errors = [error, *([error.__context__] if "_error_repr" in str(error) else [])]
    is_jax = any(_is_jax(kind) for one in errors for kind in type(one).__mro__)
    if not is_jax and not any(words in str(error) for words in _TENSORFLOW):
        return None
    lines = users_lines(error.__traceback__)
    if not lines:
        return None
    if any(Path(line.filename).name in _LOOKUPS for one in errors if one for line in _lines(one)):
        return (
            f"{step} looks up numbers in a vocabulary at {described(lines[-1])}. Keras does that with TensorFlow, "
            "which a step compiled by another backend cannot call: let the source of batches do it, for example "
            "dataset.map(...) of tf.data with the layer, or the layer on whole arrays before training."
        )
    if "Iterating over a symbolic" in str(error):
        return (
            f"{step} iterates over one tensor at {described(lines[-1])}. For x, y = batch give batches that are "
            "tuples, as kgenre.ArrayDataset((x, y)) makes; the rows of a tensor are keras.ops.unstack(tensor)."
        )
    return (
        f"{step} asks for the numbers in a tensor at {described(lines[-1])}, but a step is compiled before there are "
        "any. Write it with tensors: keras.ops.where(condition, a, b) for if, "
        "keras.ops for NumPy and float(), x.shape[0] for len(x), self.model(x) for predict; self.log takes the tensor."
    )


def _is_jax(kind: type) -> bool:
    return kind.__name__ in _JAX and kind.__module__.startswith("jax")


def _lines(error: BaseException) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)
