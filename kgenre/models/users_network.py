"""Checks networks that a user's function builds, and creates the errors for those that cannot be built."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kgenre.training import TrainerError
from kgenre.users_code import described, users_lines

_log = logging.getLogger("kgenre")


def check_built(model: Any, name: str, vocabulary_size: int | None) -> None:
    """Reject a model that is not a genre network.

    Args:
        model: what the function returned.
        name: the function's name.
        vocabulary_size: token ids are below it; None: not known.

    Raises:
        TrainerError: it is not a Keras model, has no defined inputs, does not return one row per film, or has an
            embedding of fewer words than the vocabulary.
    """
    import keras

    kind = type(model).__name__
    if not isinstance(model, keras.Model):
        what = "nothing" if model is None else f"a {kind}"
        raise TrainerError(f"network: {name} returns {what}. It must return a model: keras.Model(inputs, outputs).")
    if getattr(model, "inputs", None) is None:  # a subclass of Model, or a Sequential without Input
        raise TrainerError(
            f"network: {name} returns a {kind} without defined inputs. Call it on an input: poster = "
            f"keras.Input((*image_size, 3), name='poster'); return keras.Model(poster, {kind}(...)(poster))."
        )
    output = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    if keras.tree.is_nested(output) or len(output.shape) != 2:
        shapes = keras.tree.map_structure(lambda tensor: str(tuple(tensor.shape)), output)
        raise TrainerError(
            f"network: {name} must have one output (None, genres), a probability for each film and genre, not in a "
            f"list or dict. Received: {shapes}"
        )
    for layer in model.layers:
        reads_words = isinstance(layer, keras.layers.Embedding) and layer.input in model.inputs
        if reads_words and vocabulary_size is not None and layer.input_dim < vocabulary_size:
            raise TrainerError(
                f"network: {name} has an Embedding of {layer.input_dim} words, but token ids go up to "
                f"{vocabulary_size - 1}. Build it with the function's argument vocabulary_size "
                "(--data.vocabulary_size)."
            )
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        _log.warning(
            "%s ends in a softmax: its probabilities add up to 1, but a film has several genres. End it in "
            "activation='sigmoid'.",
            name,
        )


def check_shapes(model: Any, read: Mapping[str, Any]) -> None:
    """Reject inputs of other shapes than the network was built for.

    Raises:
        TrainerError: a shape differs; the message says what to change.
    """
    for tensor in model.inputs:
        wanted, given = tuple(tensor.shape[1:]), tuple(read[tensor.name].shape[1:])
        if len(wanted) == len(given) and all(size in (None, found) for size, found in zip(wanted, given, strict=True)):
            continue
        hint = {
            "poster": "Build it with the function's argument image_size (--data.image_size).",
            "overview": "Overviews differ in length: use keras.Input((None,), ...), or pad them all to one length: "
            f"--data.sequence_length {wanted[0]} --data.length_buckets 1.",
        }[tensor.name]
        raise TrainerError(f"The network reads {tensor.name}s of shape {wanted}, but the data have {given}. {hint}")


def user_code_error(what: str, error: Exception, hint: str = "") -> TrainerError:
    """Return a `TrainerError` for an error in the user's file: ``what`` went wrong, at which lines, and its message."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    where = "; ".join(map(described, users_lines(error.__traceback__)))
    return TrainerError(f"network: {': '.join(filter(None, (what, where, message)))}{hint}")
