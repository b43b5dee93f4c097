"""A network by its name or by the function that builds it, made for the data: sizes, members, what it learns before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kgenre.training import TrainerError

NETWORKS = (
    "poster_cnn_2024",
    "poster_cnn_2025",
    "overview_lstm",
    "overview_lstm_pooled",
    "overview_words",
    "overview_lstm_words",
    "poster_colours",
    "poster_resnet_colours",
    "poster_resnet",
    "poster_overview_fusion",
    "fused",
)


def build_network(
    network: str | Callable[..., Any], arguments: Mapping[str, Any], sizes: Mapping[str, Any], members: int = 1
) -> Any:
    """A `keras.Model` for the data.

    Args:
        network: one of NETWORKS, a function that builds a Keras model, or a Keras model, which is given back as it is.
        arguments: of the function, by name.
        sizes: of the data (``genres``, ``image_size``, ``vocabulary_size``): those that the function takes are given.
        members: how many stand side by side (see `side_by_side`), each with weights of its own.

    Raises:
        TrainerError: the function has no such argument, or a Keras model cannot be built several times.

    Example:
        >>> build_network("overview_words", {}, {"genres": 20, "vocabulary_size": 10_000}).output_shape
        (None, 20)
    """
    import kgenre.models

    if hasattr(network, "layers"):
        if members > 1:
            raise TrainerError("members needs a network that can be built several times: a name or a function.")
        return network
    builder = network if callable(network) else getattr(kgenre.models, network)
    takes = inspect.signature(builder).parameters
    unknown = [name for name in arguments if name not in takes]
    if unknown:
        raise TrainerError(f"network_args: {builder.__name__} takes {', '.join(takes)}. Received: {unknown[0]!r}")
    known = {name: value for name, value in sizes.items() if name in takes or name == "genres"}
    networks = [builder(**known | dict(arguments)) for _ in range(members)]
    if members == 1:
        return networks[0]
    from kgenre.models.side_by_side import side_by_side

    return side_by_side(networks, networks[0].name)


def posters_to_adapt_to(model: Any) -> int:
    """How many training posters the layers of a model want to be shown before the first step."""
    return max(getattr(part, "adapts_to_posters", 0) for part in model._flatten_layers())


def adapt_to_films(model: Any, films: Mapping[str, Any]) -> None:
    """Show the layers the films, in their order: what one returns is what those after it in its network are shown.

    Args:
        model: a network; of its layers those with a method ``adapt_to_films`` are called, in networks inside it too.
        films: as `FilmData.training_films` gives them.
    """
    for layer in model.layers:
        if hasattr(layer, "layers"):
            adapt_to_films(layer, films)
        elif hasattr(layer, "adapt_to_films"):
            films = layer.adapt_to_films(films) or films
