"""Several trained networks combined into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kgenre.engines import prepare_keras
from kgenre.models.build_network import build_network
from kgenre.models.side_by_side import side_by_side


def fused(
    genres: int = 25,
    image_size: tuple[int, int] = (64, 64),
    vocabulary_size: int = 10_000,
    members: Sequence[dict[str, Any]] = (),
    mean: bool = False,
) -> keras.Model:
    """Build networks `side_by_side`; ``kgenre fuse`` sets their trained weights.

    Inputs: those of the members, "overview" and "poster". Output: float32 (B, genres), an independent probability per
    genre.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        vocabulary_size: number of token ids, padding and the unknown word included.
        members: for each its ``network``, a name that `GenreClassifier` accepts, its ``network_args``, and ``members``,
            the number of copies side by side, 1 if not given.
        mean: average the log-odds of the members whose inputs the film has; else sum them with fitted weights.

    Returns:
        A built model.

    Raises:
        ValueError: there are no members.

    Example:
        >>> fused(members=[{"network": "poster_resnet"}, {"network": "overview_lstm_pooled"}])
    """
    prepare_keras()
    if not members:
        raise ValueError("fused needs networks: members=[{'network': 'poster_resnet'}, ...].")
    sizes: dict[str, Any] = {"genres": genres, "image_size": tuple(image_size), "vocabulary_size": vocabulary_size}
    sizes["pretrained"] = False  # the members' trained weights are set afterwards
    networks = [
        build_network(member["network"], member.get("network_args") or {}, sizes, member.get("members") or 1)
        for member in members
    ]
    return side_by_side(networks, "fused", mean)
