"""Builds a network from its name or function, with the data's sizes, and adapts its layers to the training films."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kgenre.engines.out_of_memory import is_out_of_memory
from kgenre.models.named_network import network_function
from kgenre.models.users_network import check_built, user_code_error
from kgenre.training import TrainerError
from kgenre.users_code import users_lines

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


def build_network(
    network: str | Callable[..., Any], arguments: Mapping[str, Any], sizes: Mapping[str, Any], members: int = 1
) -> Any:
    """Build a `keras.Model` for the data.

    Args:
        network: a name for `network_function`, a function that builds a Keras model, or a Keras model, which is
            returned as it is.
        arguments: of the function, by name.
        sizes: of the data (``genres``, ``image_size``, ``vocabulary_size``), and ``pretrained``, whether the network is
            new (else a checkpoint's weights will be loaded); the function receives those that it has parameters for.
        members: number of copies side by side (see `side_by_side`), each with its own weights.

    Raises:
        TrainerError: see `check_network` and `check_built`; or the network cannot be built.

    Example:
        >>> build_network("overview_words", {}, {"genres": 20, "vocabulary_size": 10_000}).output_shape
        (None, 20)
    """
    check_network(network, arguments, members)
    words = sizes.get("vocabulary_size")
    if hasattr(network, "layers"):
        given: Any = network
        check_built(given, given.name, words)
        return given
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
        if not arguments or not isinstance(error, TypeError | ValueError):
            raise
        with_arguments = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        reason = " ".join(str(error).split())
        raise TrainerError(f"network_args: {_name(builder)} cannot be built with {with_arguments}: {reason}") from error
    for one in networks:
        check_built(one, _name(builder), words)
    if members == 1:
        return networks[0]
    from kgenre.models.side_by_side import side_by_side

    return side_by_side(networks, networks[0].name)


def _takes_any(builder: Callable[..., Any]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(builder).parameters.values())


def _name(builder: Callable[..., Any]) -> str:
    return getattr(builder, "__name__", type(builder).__name__)


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
