"""The shapes and dtypes of a batch: a step is built on them, and checkpoints store them as JSON values."""

from __future__ import annotations

import warnings
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kgenre.engines.step_error import StepError


def batch_specs(stage: str, batch: Any) -> Any:
    """The batch's structure with a `keras.KerasTensor` in place of each array; float64 becomes float32.

    Args:
        stage: the batch's stage, for error messages.
        batch: a structure (dict, list, tuple) of arrays and numbers.

    Raises:
        StepError: the batch contains a string (allowed under TensorFlow), None, rows as lists, a sparse or ragged
            tensor, a mapping that is no dict, an array in the other byte order (allowed under TensorFlow), or another
            object; the message says where.

    Example:
        >>> batch_specs("train", {"x": np.zeros((8, 4))})
        {'x': <KerasTensor shape=(8, 4), dtype=float32, ...>}
    """
    if (place := _rows_in_lists(batch, "batch")) is not None:
        raise StepError(
            f"The {stage.partition('/')[0]} batch holds lists of numbers at {place}; each number would become a "
            "separate input. Pass an array, numpy.asarray(rows); for a Hugging Face dataset, call with_format('numpy')."
        )
    for path, leaf in keras.tree.flatten_with_path(batch):
        try:
            is_number = _spec(leaf).dtype != "string" or keras.backend.backend() == "tensorflow"
        except (TypeError, ValueError):
            is_number = False
        place = "".join(f"[{key!r}]" for key in path)
        if (kind := type(leaf).__name__) in _NOT_DENSE:
            raise StepError(
                f"The {stage.partition('/')[0]} batch holds a {kind} at batch{place}; a compiled step takes dense "
                f"arrays. Convert it in the data pipeline, for example with {_NOT_DENSE[kind]} in dataset.map(...)."
            )
        if isinstance(leaf, Mapping):  # such as the BatchEncoding of a Hugging Face tokenizer
            raise StepError(
                f"The {stage.partition('/')[0]} batch holds an object of type {kind} at batch{place}, which is not a "
                "dict. Convert it in the data pipeline, with dict(...)."
            )
        if not is_number:
            is_text = isinstance(leaf, str) or getattr(getattr(leaf, "dtype", None), "kind", "") in ("U", "S", "O")
            instead = " with Keras's StringLookup or TextVectorization in the data pipeline"
            raise StepError(
                f"The {stage.partition('/')[0]} batch holds {str(leaf)[:40]!r} ({type(leaf).__name__}) at "
                f"batch{place}; a compiled step takes numbers only. Leave it out of the batch, or convert it to numbers"
                f"{instead if is_text else ''}."
            )
        dtype = getattr(leaf, "dtype", None)
        if isinstance(dtype, np.dtype) and not dtype.isnative and (backend := keras.backend.backend()) != "tensorflow":
            raise StepError(
                f"The {stage.partition('/')[0]} batch holds an array of {dtype.str!r} at batch{place}: {backend} takes "
                f"the byte order of this machine only. Convert it, array.astype({dtype.name!r})."
            )
        _warn_if_wrapped(leaf, f"{stage.partition('/')[0]} batch", f"batch{place}")
    return keras.tree.map_structure(_spec, batch)


_NOT_DENSE = {"RaggedTensor": "ragged.to_tensor()", "SparseTensor": "tf.sparse.to_dense(sparse)"}


def _warn_if_wrapped(leaf: Any, batch: str, place: str) -> None:
    """Warn of integers that are too large for the backend: JAX silently wraps them to 32 bits."""
    if isinstance(leaf, keras.KerasTensor) or _spec(leaf).dtype not in ("int64", "uint64"):
        return
    numbers = keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else np.asarray(leaf)
    seen = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(numbers))
    if np.any(differ := seen != numbers):
        warnings.warn(
            f"The {batch} holds {numbers[differ][0]} at {place}, but {keras.backend.backend()} computes with 32 bits: "
            f"the step sees {seen[differ][0]}. Use smaller numbers, such as row indices.",
            stacklevel=2,
        )


def _rows_in_lists(value: Any, place: str) -> str | None:
    if isinstance(value, list) and value and all(type(row) is list and _are_numbers(row) for row in value):
        return place
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = (_rows_in_lists(item, f"{place}[{key!r}]") for key, item in items)
    return next((inner for inner in found if inner is not None), None)


def _are_numbers(row: list[Any]) -> bool:
    return bool(row) and all(isinstance(number, int | float) for number in row)


def _spec(array: Any) -> keras.KerasTensor:
    array = array if hasattr(array, "dtype") else np.asarray(array)
    dtype = keras.backend.standardize_dtype(array.dtype)
    return keras.KerasTensor(array.shape, "float32" if dtype == "float64" else dtype)


def specs_as_json(specs: Any) -> Any:
    """Convert the result of `batch_specs` to JSON values: a leaf to [shape, dtype].

    A list or tuple becomes {"": [...]}, with the names of a named tuple under "fields"; so does a dict whose keys are
    integers, with these under "keys".
    """
    if isinstance(specs, Mapping):
        if specs and all(type(key) is int for key in specs):
            return {"": [specs_as_json(value) for value in specs.values()], "keys": list(specs)}
        return {str(key): specs_as_json(value) for key, value in specs.items()}
    if isinstance(specs, list | tuple):
        named = {"fields": list(fields)} if (fields := getattr(specs, "_fields", ())) else {}
        return {"": [specs_as_json(value) for value in specs]} | named
    return [list(specs.shape), specs.dtype]


def specs_from_json(specs: Any) -> Any:
    """The inverse of `specs_as_json`, except that lists become tuples."""
    if isinstance(specs, list):
        shape, dtype = specs
        return keras.KerasTensor(shape, dtype)
    if "" not in specs:
        return {key: specs_from_json(value) for key, value in specs.items()}
    values = map(specs_from_json, specs[""])
    if "keys" in specs:
        return dict(zip(specs["keys"], values, strict=True))
    if "fields" in specs:
        return namedtuple("Batch", specs["fields"])(*values)
    return tuple(values)
