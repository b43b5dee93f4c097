"""A film model's word and genre vectors, for TensorBoard's Projector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_WORDS = 2000  # the most frequent


def write_projector(
    folder: Path,
    model: Any,
    vocabulary: Sequence[str],
    genre_names: Sequence[str],
    to_host: Callable[[Any], np.ndarray],
) -> None:
    """Write the vectors of the most frequent words and of the genres (the last dense layer's) for the Projector.

    ``to_host`` is the engine's.
    """
    import keras
    from keras import ops

    vectors: dict[str, tuple[np.ndarray, Sequence[str]]] = {}
    embedding = next((layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)), None)
    if embedding is not None and len(vocabulary) > 2:
        known = min(len(vocabulary), embedding.embeddings.shape[0], _WORDS + 2)
        array = to_host(ops.copy(embedding.embeddings))[2:known]  # without padding and unknown
        vectors["words"] = array, vocabulary[2:known]
    last = next((layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Dense)), None)
    if last is not None and last.units == len(genre_names):  # kgenre's own networks have an activation after it
        vectors["genres"] = to_host(ops.copy(last.kernel)).T, genre_names
    if not vectors:
        return
    config = []
    for name, (array, labels) in vectors.items():
        rows = "\n".join("\t".join(f"{value:.4g}" for value in row) for row in array)
        (folder / f"projector_{name}.tsv").write_text(rows + "\n", encoding="utf-8")
        text = "\n".join(" ".join(label.split()) for label in labels)
        (folder / f"projector_{name}_labels.tsv").write_text(text + "\n", encoding="utf-8")
        config.append(
            f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "projector_{name}.tsv"\n'
            f'  metadata_path: "projector_{name}_labels.tsv"\n}}\n'
        )
    (folder / "projector_config.pbtxt").write_text("".join(config), encoding="utf-8")
