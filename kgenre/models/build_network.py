"""Builds a network from its name or function, with the data's sizes, checks it, and adapts it to the training films."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from kgenre.engines.out_of_memory import is_out_of_memory
from kgenre.models.named_network import network_function, user_code_error
from kgenre.training import TrainerError
from kgenre.users_code import users_lines

_log = logging.getLogger("kgenre")
_GIVEN = ("genres", "image_size", "vocabulary_size", "pretrained")
_PRETRAINED = (
    " If this is due to weights that it loads: the run's checkpoint contains all weights. Give the function an "
    "argument pretrained, which is False here, and load weights only if it is True."
)


def check_network(network: Any, arguments: Mapping[str, Any], members: int = 1) -> None:
    """Reject what `build_network` cannot build, before the data are read.

    Raises:
        TrainerError: it is not a network, its function has no such argument or needs another one, or a Keras model is
            given arguments or requested several times.
    """
    if hasattr(network, "layers"):
        if members > 1 or arguments:
            what = "members" if members > 1 else "network_args"
            raise TrainerError(f"{what} needs a network that is built from a name or a function, not a Keras model.")
        return
    builder = network_function(network) if isinstance(network, str) else network
    if not callable(builder):
        raise TrainerError(
            "network must be a name (file.function for your own; its arguments are network_args), a function or a "
            f"Keras model. Received: {network!r}"
        )
    takes = inspect.signature(builder).parameters
    unknown = [name for name in arguments if name not in takes]
    if unknown and not _takes_any(builder):
        hint = ", ".join(takes) or "no arguments"
        raise TrainerError(f"network_args: {_name(builder)} takes {hint}. Received: {unknown[0]!r}")
    missing = [
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and not (name in arguments or name in _GIVEN)
    ]
    if missing:
        raise TrainerError(f"network_args: {_name(builder)} needs {', '.join(missing)}.")


def build_network(network: Any, arguments: Mapping[str, Any], sizes: Mapping[str, Any], members: int = 1) -> Any:
    """Build a `keras.Model` for the data, from what `check_network` accepts.

    Args:
        network: a name for `network_function`, a function that builds a Keras model, or a Keras model, which is
            returned as it is.
        arguments: of the function, by name.
        sizes: of the data (``genres``, ``image_size``, ``vocabulary_size``), and ``pretrained``, whether the network is
            new (else a checkpoint's weights will be loaded); the function receives those that it has parameters for.
        members: number of copies side by side (see `side_by_side`), each with its own weights.

    Raises:
        TrainerError: see `check_built`; or the network cannot be built.

    Example:
        >>> build_network("overview_words", {}, {"genres": 20, "vocabulary_size": 10_000}).output_shape
        (None, 20)
    """
    words = sizes.get("vocabulary_size")
    if hasattr(network, "layers"):
        check_built(network, network.name, words)
        return network
    builder = network_function(network) if isinstance(network, str) else network
    takes = inspect.signature(builder).parameters
    known = {
        name: value for name, value in sizes.items() if name in takes or (name == "genres" and _takes_any(builder))
    }
    try:
        networks = [builder(**known | dict(arguments)) for _ in range(members)]
    except Exception as error:
        if isinstance(error, TrainerError) or is_out_of_memory(error):
            raise
        if users_lines(error.__traceback__):
            need_no_weights = not sizes.get("pretrained", True) and "pretrained" not in takes
            hint = _PRETRAINED if need_no_weights else ""
            raise user_code_error(f"{_name(builder)} cannot be built", error, hint) from error
        if not arguments or not isinstance(error, TypeError | ValueError | LookupError | ArithmeticError):
            raise
        with_arguments = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        reason = " ".join(str(error).split())
        raise TrainerError(f"network_args: {_name(builder)} cannot be built with {with_arguments}: {reason}") from error
    check_built(networks[0], _name(builder), words)
    if members == 1:
        return networks[0]
    from kgenre.models.side_by_side import side_by_side

    return side_by_side(networks, networks[0].name)


def _takes_any(builder: Callable[..., Any]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(builder).parameters.values())


def _name(builder: Callable[..., Any]) -> str:
    return getattr(builder, "__name__", type(builder).__name__)


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


def posters_to_adapt_to(model: Any) -> int:
    """Return how many training posters the layers of a model need before the first step."""
    return max(getattr(part, "adapts_to_posters", 0) for part in model._flatten_layers())


def adapt_to_films(model: Any, films: Mapping[str, Any]) -> None:
    """Pass the films to each layer in order; what one returns replaces the films for the layers after it.

    Args:
        model: a network; its layers with a method ``adapt_to_films`` are called. A nested network's layers are, too:
            films that they replace are replaced in that network only.
        films: as returned by `FilmData.training_films`.
    """
    for layer in model.layers:
        if hasattr(layer, "layers"):
            adapt_to_films(layer, films)
        elif hasattr(layer, "adapt_to_films"):
            films = layer.adapt_to_films(films) or films
