"""Explains predictions: which regions of a poster and which words of an overview support a genre."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kgenre.engines.activation_gradient import activation_gradient
from kgenre.models.genre_classifier import GenreClassifier
from kgenre.models.log_odds import log_odds
from kgenre.models.side_by_side import members_of

Floats = npt.NDArray[np.float32]


def grad_cam(module: GenreClassifier, batch: dict[str, Any], genres: npt.NDArray[np.integer]) -> Floats:
    """Return which regions of each film's poster support its genre: Grad-CAM (Selvaraju et al., 2017).

    The last convolutional layer's channels are weighted by the mean gradient of the genre's log-odds and summed;
    evidence against the genre is cut off (https://arxiv.org/abs/1610.02391). For networks side by side, the maps of all
    that read posters are summed.

    Args:
        module: a classifier that reads posters.
        batch: n films, as from `FilmData.encode`.
        genres: (n,) column of the genre to explain for each film.

    Returns:
        (n, h, w) float32 in [0, 1], coarser than the poster (8 x 8 for the course's networks); all 0 for a film whose
        poster does not support the genre.

    Raises:
        ValueError: the network has no convolutional layer.
    """
    maps = []
    for layer in _last_convolutions(module.model):
        output, gradient = activation_gradient(layer, lambda: _log_odds(module, batch, genres))
        weights = gradient.mean(axis=(1, 2), keepdims=True)
        maps.append((weights * output).sum(axis=3))
    if not maps:
        raise ValueError(f"{module.model.name} has no convolutional layer: posters cannot be explained.")
    largest = max(one.shape for one in maps)
    heat = np.maximum(sum(_resized(one, largest) for one in maps), 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    return (heat / np.where(most > 0, most, 1)).astype(np.float32)


def word_importance(module: GenreClassifier, batch: dict[str, Any], genres: npt.NDArray[np.integer]) -> Floats:
    """Return how much each word of each film's overview supports its genre: gradient times input.

    To first order, how far the genre's log-odds would fall with the word's embedding set to zero (Shrikumar et al.,
    2016, https://arxiv.org/abs/1605.01713); for networks side by side, with its embeddings in all of them.

    Args:
        module: a classifier that reads overviews.
        batch: n films, as from `FilmData.encode`.
        genres: (n,) column of the genre to explain for each film.

    Returns:
        (n, T) float32, positive for the genre, negative against it, 0 at padding.

    Raises:
        ValueError: the network has no embedding.
    """
    embeddings = [part for part in module.model._flatten_layers() if isinstance(part, keras.layers.Embedding)]
    films, length = np.shape(batch["overview"])
    importance, is_explained = np.zeros((films, length)), False
    for layer in embeddings:
        output, gradient = activation_gradient(layer, lambda: _log_odds(module, batch, genres))
        if output.ndim == 3 and len(output) == films:  # not an embedding of positions, the same for all films
            # `LinearSubwords` embeds several subwords per word, one after another.
            importance += (output * gradient).reshape(films, length, -1).sum(axis=2)
            is_explained = True
    if not is_explained:
        raise ValueError(f"{module.model.name} has no Embedding layer: words cannot be explained.")
    return np.where(np.asarray(batch["overview"]) > 0, importance, 0).astype(np.float32)


def _log_odds(module: GenreClassifier, batch: dict[str, Any], genres: npt.NDArray[np.integer]) -> Any:
    """Return the sum over films of the log-odds of each one's genre; a film's gradient depends on that film only."""
    with without_sigmoid(module.model) as gives_log_odds:
        outputs = GenreClassifier.probabilities(module, batch, mirror=False)  # an override may expect probabilities
    chosen = ops.one_hot(ops.convert_to_tensor(genres.astype("int32")), outputs.shape[-1])
    of_genre = ops.sum(outputs * chosen, axis=-1)
    return ops.sum(of_genre if gives_log_odds else log_odds(of_genre))


@contextmanager
def without_sigmoid(model: Any) -> Iterator[bool]:
    """Make a network return log-odds in place of probabilities in the block, if it and its members end in a sigmoid.

    In float32, the sigmoid of a number above 17 is 1 and has no gradient. Yields whether the network returns log-odds;
    if not, it is unchanged.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="sigmoid")])
        >>> with without_sigmoid(model) as gives_log_odds:
        ...     said = model(np.ones((1, 2)))
    """
    ends = _ends(model)
    if any(getattr(end, "activation", None) is not keras.activations.sigmoid for end in ends):
        yield False
        return
    with ExitStack() as afterwards:
        for end in ends:
            afterwards.callback(object.__setattr__, end, "activation", end.activation)
            object.__setattr__(end, "activation", keras.activations.linear)  # Keras's __setattr__ would track it
        yield True


def _ends(model: Any) -> list[Any]:
    """Return the output layer of the network and those of its members; None for one that cannot be determined."""
    outputs = getattr(model, "outputs", None) or [None]
    made_by = getattr(outputs[0], "_keras_history", None)
    last = model.layers[-1] if made_by is not None and made_by.operation is model.layers[-1] else None
    return [last, *(end for member in members_of(model) for end in _ends(member))]


def _last_convolutions(model: keras.Model) -> list[Any]:
    """Return the last layer with feature maps, nested networks included; for networks side by side, one of each."""
    if members := members_of(model):
        return [layer for member in members for layer in _last_convolutions(member)]
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            if found := _last_convolutions(layer):  # a nested network, such as an augmentation, may have none
                return found
        # Pools and dropouts have no weights; a residual block counts as one layer.
        elif layer.weights and len(getattr(layer.output, "shape", ())) == 4:
            return [layer]
    return []


def _resized(maps: Floats, shape: tuple[int, ...]) -> Floats:
    """Enlarge maps (n, h, w) to ``shape`` by repeating rows and columns."""
    rows, columns = (np.arange(to) * now // to for to, now in zip(shape[1:], maps.shape[1:], strict=True))
    return maps[:, rows][:, :, columns]
