"""The networks of `throughput.py`: kgenre's, the same in stock Keras, their work in FLOPs, and the films they read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

GENRES, VOCABULARY, EMBEDDING, WORDS = 25, 10_000, 256, 68
OWN = 0  # instead of a padded length: each contestant pads as it does by itself
SEVERAL = 25  # steps in a call, of those of a round; logs are written every 50
EPOCH = 28  # batches of an epoch then: with fewer kgenre would have fewer length buckets
# What differs between the LSTMs: recurrent dropout, and whether padding is masked.
LSTMS = {
    "overview_lstm": (0.2, True),  # the course's
    "overview_lstm_cudnn": (0.0, True),  # without recurrent dropout, which rules cuDNN out
    "overview_lstm_unmasked": (0.0, False),  # and reading the padding too
}
MODELS = ("poster_cnn_2024", "poster_cnn_2025", *LSTMS)


def build(name: str, stock: bool = False, dropout: bool = True) -> Any:
    """The Keras model; ``stock``: of Keras's own layers only, as one would write it without kgenre."""
    import keras

    from kgenre.models import overview_lstm, poster_cnn_2024, poster_cnn_2025

    none = {} if dropout else {"dropout": 0.0, "dense_dropout": 0.0}
    if name not in LSTMS:
        if stock:
            return {"poster_cnn_2024": _stock_cnn_2024, "poster_cnn_2025": _stock_cnn_2025}[name]()
        return {"poster_cnn_2024": poster_cnn_2024, "poster_cnn_2025": poster_cnn_2025}[name](**none)
    rate, masked = LSTMS[name]
    rate = rate if dropout else 0.0
    if not stock:
        model = overview_lstm(recurrent_dropout=rate, **none)
        model.get_layer("Embedding").mask_zero = masked
        return model
    layers, inputs = keras.layers, 0.5 if dropout else 0.0
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(VOCABULARY, EMBEDDING, mask_zero=masked),
            layers.Bidirectional(layers.LSTM(256, dropout=inputs, recurrent_dropout=rate, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(128, dropout=inputs, recurrent_dropout=rate)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.8 if dropout else 0.0),
            layers.Dense(GENRES, activation="sigmoid", dtype="float32"),
        ]
    )


def _stock_cnn_2024() -> Any:
    """The course's table in Keras's own layers."""
    import keras
    from keras import layers

    def conv(filters: int, strides: int = 1) -> Any:
        return layers.Conv2D(filters, 3, strides, padding="same", activation="relu")

    network = [conv(16, 2), layers.Dropout(0.2)]
    for filters in (32, 64, 128):
        network += [conv(filters), conv(filters), layers.Dropout(0.2), layers.MaxPooling2D(2)]
    network.append(layers.Flatten())
    for _ in range(2):
        network += [layers.Dense(1024, activation="relu"), layers.Dropout(0.5)]
    output = layers.Dense(GENRES, activation="sigmoid", dtype="float32")
    return keras.Sequential([keras.Input((64, 64, 3)), *network, output])


def _stock_cnn_2025() -> Any:
    """The course's residual network in Keras's own layers."""
    import keras
    from keras import layers

    def conv(filters: int, size: int = 3, activation: str | None = None) -> Any:
        return layers.Conv2D(filters, size, padding="same", activation=activation)

    pixels = keras.Input((64, 64, 3))
    x = conv(32, activation="relu")(pixels)
    for index, filters in enumerate((32, 64, 128, 128)):
        if index:
            x = layers.MaxPooling2D(2)(x)
        main = layers.Dropout(0.2)(conv(filters, activation="relu")(x))
        main = layers.Dropout(0.2)(conv(filters)(main))
        x = layers.ReLU()(layers.add([main, conv(filters, 1)(x)]))
    x = layers.Dropout(0.5)(layers.Dense(256, activation="relu")(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(pixels, layers.Dense(GENRES, activation="sigmoid", dtype="float32")(x))


def overviews(batch_size: int, padding: str) -> list[dict[str, np.ndarray]]:
    """An epoch of overviews as long as real ones: in length "buckets", each batch as its "longest", or "all" alike.

    Real ones have a median of 26 words, 5 % are below 13 and 5 % above 41, and the longest of 64 has 47.
    """
    from kgenre.data.batch_plan import LengthBuckets, plan_batches

    random, count = np.random.default_rng(0), EPOCH * batch_size
    lengths = np.clip(random.normal(26.5, 8.6, count), 1, WORDS).astype("int32")
    words = random.integers(1, VOCABULARY, (count, WORDS), dtype="int32") * (np.arange(WORDS) < lengths[:, None])
    genres = (random.random((count, GENRES)) < 0.09).astype("float32")
    rows = np.arange(count)
    buckets = LengthBuckets.choose(lengths, rows, batch_size, 4, int(lengths.max())) if padding == "buckets" else None
    plan = plan_batches(rows, batch_size, True, 0, 0, buckets)
    if padding == "buckets":
        widths = plan.widths
    else:  # to the next multiple of four, as kgenre's buckets are: every other width is another program to compile
        widths = [WORDS if padding == "all" else -(-lengths[batch].max() // 4) * 4 for batch in plan.rows]
    return [
        {"x": words[batch, :width], "genres": genres[batch]} for batch, width in zip(plan.rows, widths, strict=True)
    ]


def films(name: str, batch_size: int, batches: int, words: int = WORDS, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Batches of made-up films: uint8 posters, or token ids as long as real overviews (median 25 words), and genres.

    The longest overview of a batch has ``words`` words, and all are padded to it.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(batches):
        genres = (random.random((batch_size, GENRES)) < 0.09).astype("float32")
        if name in LSTMS:
            lengths = np.clip(random.lognormal(np.log(25), 0.4, batch_size).astype(int), 1, words)
            lengths[0] = words
            overview = random.integers(1, VOCABULARY, (batch_size, words), dtype="int32")
            made.append({"x": overview * (np.arange(words) < lengths[:, None]), "genres": genres})
        else:
            made.append({"x": random.integers(0, 256, (batch_size, 64, 64, 3), dtype="uint8"), "genres": genres})
    return made


def flops(name: str, batch_size: int, words: int = WORDS) -> float:
    """Multiplications and additions of one forward pass; training does three times as many.

    Of the matrix products and convolutions alone. LSTM: all steps, the padded ones too; a way that leaves them out
    does less work than this and may look faster than the device.
    """
    if name in LSTMS:
        first = 2 * 2 * words * (EMBEDDING + 256) * 4 * 256
        second = 2 * 2 * words * (512 + 128) * 4 * 128
        return batch_size * float(first + second + 2 * (256 * 128 + 128 * GENRES))
    if name == "poster_cnn_2024":
        convolutions = [
            (32, 3, 16),
            (32, 16, 32),
            (32, 32, 32),
            (16, 32, 64),
            (16, 64, 64),
            (8, 64, 128),
            (8, 128, 128),
        ]
        dense = 2048 * 1024 + 1024 * 1024 + 1024 * GENRES
        skips = 0
    else:
        blocks = [(64, 32, 32), (32, 32, 64), (16, 64, 128), (8, 128, 128)]
        convolutions = [(64, 3, 32)] + [c for side, a, b in blocks for c in ((side, a, b), (side, b, b))]
        dense, skips = 128 * 256 + 256 * GENRES, sum(side * side * a * b for side, a, b in blocks)
    return batch_size * 2.0 * (sum(9 * side * side * a * b for side, a, b in convolutions) + skips + dense)


def scaled(name: str, x: Any) -> Any:
    """Pixels from 0..255 to 0..1; token ids as they are."""
    from keras import ops

    return x if name in LSTMS else ops.cast(x, "float32") / 255.0


def torch_network(name: str) -> Any:
    """The same network in torch, as one would write it there; logits instead of probabilities."""
    import torch
    from torch import nn

    if name in LSTMS:
        return _torch_lstm(LSTMS[name] == (0.0, True))
    if name == "poster_cnn_2024":
        layers: list[Any] = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Dropout(0.2)]
        for before, filters in ((16, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.5)]
        return nn.Sequential(*layers, nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, GENRES))

    class Block(nn.Module):
        def __init__(self, before: int, filters: int) -> None:
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(before, filters, 3, padding=1),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Conv2d(filters, filters, 3, padding=1),
                nn.Dropout(0.2),
            )
            self.skip = nn.Conv2d(before, filters, 1)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.main(x) + self.skip(x))

    pool = nn.MaxPool2d(2)
    body = [Block(32, 32), pool, Block(32, 64), pool, Block(64, 128), pool, Block(128, 128)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *body, *head, nn.Linear(256, GENRES))


def _torch_lstm(masked: bool) -> Any:
    """As it is usually written there: no recurrent dropout (torch has none), and then no mask either."""
    import torch
    from torch import nn

    class OverviewLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, EMBEDDING, padding_idx=0)
            self.first = nn.LSTM(EMBEDDING, 256, batch_first=True, bidirectional=True)
            self.second = nn.LSTM(512, 128, batch_first=True, bidirectional=True)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.8), nn.Linear(128, GENRES))

        def forward(self, x: Any, lengths: Any) -> Any:
            embedded = self.drop(self.embedding(x))
            if masked:
                embedded = nn.utils.rnn.pack_padded_sequence(embedded, lengths, True, enforce_sorted=False)
            states, _ = self.first(embedded)
            states = states._replace(data=self.drop(states.data)) if masked else self.drop(states)
            _, (last, _) = self.second(states)
            return self.head(torch.cat([last[0], last[1]], -1))

    return OverviewLSTM()


def prepare_environment(backend: str, device: str) -> dict[str, str]:
    """The variables a process of one backend on one device is started with."""
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    if device == "cpu":
        return os.environ | environment | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    # Several processes share the device: none may take all of its memory.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return os.environ | environment | shared
