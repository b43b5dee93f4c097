"""Explains errors of code that a compiled step cannot run: which line of the user's, and what to write instead."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from kgenre.users_code import described, users_lines

ASSIGNED_IN_BRANCH = (
    "A step assigns a variable inside keras.ops.cond, while_loop or scan, or logs or keeps a value computed there; it "
    "cannot leave the branch. Return it, or compute it with keras.ops.where, and assign or log it outside. The same "
    "holds for a tensor kept inside keras.ops.vectorized_map or kgenre.gradient."
)
UNSEEDED = (
    "A step draws random numbers without a seed of its own, which a compiled step cannot do. Create "
    "self.seed = keras.random.SeedGenerator(0) in __init__ and pass seed=self.seed to keras.random."
)

# Parts of messages, for a tensor whose values do not exist yet; for the rest, the names of JAX's errors.
_NO_VALUES = (
    "Cannot convert a symbolic tf.Tensor",
    "Using a symbolic `tf.Tensor`",
    "Iterating over a symbolic `tf.Tensor`",
    "len is not well defined for a symbolic Tensor",
    "not 'SymbolicTensor'",  # float() and int()
    "'SymbolicTensor' object has no attribute 'numpy'",
    "'SymbolicTensor' object has no attribute 'item'",
    "'SymbolicTensor' object has no attribute 'tolist'",
    "'SymbolicTensor' object cannot be interpreted as an integer",
    "Tracer has no attribute numpy",
)
_NO_VALUES_IN_JAX = {
    "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
}
_LOOKUPS = {"hashed_crossing.py", "hashing.py", "index_lookup.py", "integer_lookup.py", "string_lookup.py"}  # of Keras
_LOOKUPS |= {"text_vectorization.py"}
_NO_REMATERIALIZATION = "custom_gradient decorator currently supports keywords arguments only"  # TensorFlow
_NOT_CONVERTED = (  # a `keras.Variable` in place of a tensor
    "Triggering __jax_array__() during abstractification",  # JAX: as an operand or index
    "to a NumPy dtype (via `.dtype` value",  # JAX: in a list or tuple
    "'str' object has no attribute 'base_dtype'",  # TensorFlow: in a list or tuple, or as an index
)
_MIXED_DTYPES = re.compile(r"Input '\w+' of '\w+' Op has type (\w+) that does not match type (\w+) of argument")


def explained(error: Exception, step: str) -> str | None:
    """The message for an error that ``step`` raised; None for an error that speaks for itself."""
    text, errors = str(error), _with_the_original(error)
    lines = [line for one in errors for line in users_lines(one.__traceback__)]
    if "is accessed from" in text:  # TensorFlow: one branch reads what the other assigned
        return ASSIGNED_IN_BRANCH
    if "seeded random ops" in text:  # Keras's message under JAX; elsewhere the scope detects it
        return UNSEEDED
    if "create a variable while in a stateless scope" in text:
        return (
            f"{step} creates a variable{f' at {described(lines[-1])}' if lines else ''}, which a compiled step cannot "
            "do. Create it in __init__ or configure_model; if a layer creates it when first called (states of a "
            "stateful RNN), call layer.build(shape) there, or begin the model with keras.Input(batch_shape=shape)."
        )
    if not lines:
        return None
    place = described(lines[-1])
    # Before JAX 0.11, and since.
    if "Slice entries must be static integers" in text or "slice indices must have static" in text:
        return (
            f"{step} slices with a tensor as a bound at {place}, but a step compiled by JAX must know the length of a "
            "slice: use keras.ops.slice(x, starts, shape), or slice_update(x, starts, rows)."
        )
    if any(type(one).__name__ == "NonConcreteBooleanIndexError" for one in errors):
        return (
            f"{step} selects rows by a mask at {place}, but a step compiled by JAX must know how many. Weight them "
            "instead: ops.sum(ops.where(mask, loss, 0.0)) / ops.sum(ops.cast(mask, 'float32')) is the mean loss of "
            "the chosen rows."
        )
    has_no_values = any(map(_is_of_jax, errors)) or any(sign in text for sign in _NO_VALUES)
    files = {Path(frame.filename).name for one in errors for frame in traceback.extract_tb(one.__traceback__)}
    is_in_keras = not users_lines(errors[-1].__traceback__)
    if _NO_REMATERIALIZATION in text or (has_no_values and is_in_keras and "ad_checkpoint.py" in files):  # JAX's
        return (
            f"{step} calls a layer created in keras.RematScope at {place}, which Keras cannot recompute in a compiled "
            "step: no layer under TensorFlow, none with an argument `training` under JAX. Use "
            "RematScope(mode='activations'), or create the layer outside of the scope."
        )
    if has_no_values:
        if not _LOOKUPS.isdisjoint(files):
            return (
                f"{step} calls a layer with a vocabulary or hash at {place}. Keras runs it with TensorFlow, which a "
                "step compiled by another backend cannot call. Apply the layer in the data pipeline, for example in "
                "dataset.map(...) of tf.data, or to whole arrays before training."
            )
        if is_in_keras:
            return (
                f"{step} calls a layer of Keras at {place} that reads the values of a tensor, but they do not exist "
                "yet while the step is compiled. Pass it training=True or False, not a tensor. A layer that prepares "
                "data, such as RandomElasticTransform, can be applied in the data pipeline: tf.data's dataset.map(...)."
            )
        if "Iterating over a symbolic" in text:
            return (
                f"{step} iterates over a tensor at {place}. For x, y = batch, pass batches that are tuples, such as "
                "those of kgenre.ArrayDataset((x, y)); for the rows of a tensor, use keras.ops.unstack(tensor)."
            )
        return (
            f"{step} reads the values of a tensor at {place}, but they do not exist yet while the step is compiled. "
            "Use keras.ops.where(condition, a, b) instead of if, keras.ops instead of NumPy and float(), x.shape[0] "
            "instead of len(x), self.model(x) instead of predict; self.log takes the tensor itself."
        )
    if (mixed := _MIXED_DTYPES.search(text)) is not None:
        return (
            f"{step} combines tensors of {mixed[2]} and {mixed[1]} at {place}, but TensorFlow's operators do not "
            "convert dtypes. Use keras.ops, which does (keras.ops.subtract(a, b) for a - b), or convert one of the "
            "tensors with keras.ops.cast."
        )
    if any(sign in text for sign in _NOT_CONVERTED):
        return (
            f"{step} passes a keras.Variable where only a tensor is accepted, at {place}. Pass its value, "
            "variable.value: in a list or tuple, as an index, and to operations such as slice_update."
        )
    return None


def _with_the_original(error: BaseException) -> list[BaseException]:
    """The error, and what led to it where Keras has created an error of JAX again to extend its message.

    That fails with another error, once more in each layer around the one that failed.
    """
    errors = [error]
    while "_error_repr" in str(errors[-1]) and (earlier := errors[-1].__context__) is not None:
        errors.append(earlier)
    return errors


def _is_of_jax(error: BaseException) -> bool:
    kinds = type(error).__mro__
    return any(kind.__name__ in _NO_VALUES_IN_JAX and kind.__module__.startswith("jax") for kind in kinds)
