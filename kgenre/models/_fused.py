"""Several trained networks as one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from kgenre.engines import prepare_keras
from kgenre.models.fused_log_odds import FusedLogOdds


def fused(
    genres: int = 25,
    image_size: tuple[int, int] = (64, 64),
    vocabulary_size: int = 10_000,
    members: Sequence[dict[str, Any]] = (),
) -> keras.Model:
    """Build networks side by side under a `FusedLogOdds`; ``kgenre fuse`` gives them their weights.

    Inputs: those of the members, "overview" and "poster". Output: float32 (B, genres), an independent probability per
    genre.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        vocabulary_size: token ids are below it.
        members: for each its ``network``, a name in `kgenre.models.NETWORKS`, and its ``network_args``.

    Returns:
        A built model.

    Raises:
        ValueError: there are no members.

    Example:
        >>> fused(members=[{"network": "poster_resnet"}, {"network": "overview_lstm_pooled"}])
    """
    import kgenre.models

    prepare_keras()
    if not members:
        raise ValueError("fused needs networks: members=[{'network': 'poster_resnet'}, ...].")
    sizes = {"genres": genres, "image_size": tuple(image_size), "vocabulary_size": vocabulary_size}
    inputs = {
        "overview": keras.Input((None,), dtype="int32", name="overview"),
        "poster": keras.Input((*image_size, 3), dtype="float32", name="poster"),
    }
    said, read = [], []
    for number, member in enumerate(members, start=1):
        builder = getattr(kgenre.models, member["network"])
        takes = inspect.signature(builder).parameters
        arguments = member.get("network_args") or {}
        model = builder(**{name: size for name, size in sizes.items() if name in takes} | arguments)
        names = [tensor.name for tensor in model.inputs]
        model.name = f"{model.name}_{number}"
        said.append(model(inputs[names[0]] if len(names) == 1 else [inputs[name] for name in names]))
        read.append(inputs[names[0]])
    used = [inputs[name] for name in inputs if any(inputs[name] is part for part in read)]
    return keras.Model(used, FusedLogOdds(dtype="float32", name="Fusion")(said, read), name="fused")
