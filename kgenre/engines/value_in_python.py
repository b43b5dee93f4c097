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
    is_slice = "Slice entries must be static integers" in str(error)
    if not (is_jax or is_slice) and not any(words in str(error) for words in _TENSORFLOW):
        return None
    lines = users_lines(error.__traceback__)
    if not lines:
        return None
    if is_slice:
        return (
            f"{step} slices with a tensor as a bound at {described(lines[-1])}, but a step compiled by JAX must know "
            "the length of a slice: use keras.ops.slice(x, starts, shape), or slice_update(x, starts, rows)."
        )
    if any(Path(line.filename).name in _LOOKUPS for one in errors if one for line in _lines(one)):
        return (
            f"{step} calls a layer with a vocabulary at {described(lines[-1])}. Keras runs it with TensorFlow, which a "
            "step compiled by another backend cannot call. Apply the layer in the data pipeline, for example in "
            "dataset.map(...) of tf.data, or to whole arrays before training."
        )
    if "Iterating over a symbolic" in str(error):
        return (
            f"{step} iterates over a tensor at {described(lines[-1])}. For x, y = batch, pass batches that are tuples, "
            "such as those of kgenre.ArrayDataset((x, y)); for the rows of a tensor, use keras.ops.unstack(tensor)."
        )
    return (
        f"{step} reads the values of a tensor at {described(lines[-1])}, but they do not exist yet while the step is "
        "compiled. Use keras.ops.where(condition, a, b) instead of if, keras.ops instead of NumPy and float(), "
        "x.shape[0] instead of len(x), self.model(x) instead of predict; self.log takes the tensor itself."
    )


def _is_jax(kind: type) -> bool:
    return kind.__name__ in _JAX and kind.__module__.startswith("jax")


def _lines(error: BaseException) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)
