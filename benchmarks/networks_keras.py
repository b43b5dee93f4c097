"""The networks of `throughput.py` in Keras's own layers, as one would write them without kgenre."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops
from networks import EMBEDDING, FILTERS, GENRES, LSTMS, POSTERS, UNITS, VECTOR, VOCABULARY


def stock_network(name: str, dropout: bool = True) -> keras.Model:
    """Return the Keras model; ``dropout=False`` changes only the course's LSTMs."""
    if name in LSTMS:
        return _lstm(*LSTMS[name], dropout)
    networks = {"poster_cnn_2024": _cnn_2024, "poster_cnn_2025": _cnn_2025, "poster_resnet": _resnet}
    return (networks | {"overview_lstm_pooled": _lstm_pooled})[name]()


def _lstm(rate: float, masked: bool, dropout: bool) -> keras.Model:
    rate, inputs = (rate, 0.5) if dropout else (0.0, 0.0)
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


def _cnn_2024() -> keras.Model:
    """Build the course's CNN of 2024."""

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


def _cnn_2025() -> keras.Model:
    """Build the course's residual network of 2025."""

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


def _resnet() -> keras.Model:
    """Build `kgenre.models.poster_resnet`, with another initial bias of the last layer."""

    def conv(x: Any, filters: int, size: int = 3, strides: int = 1) -> Any:
        own = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        return layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, size, strides, **own)(x))

    pixels = keras.Input((*POSTERS["poster_resnet"], 3))
    x = layers.ReLU()(conv(layers.Rescaling(4.0, offset=-2.0)(pixels), FILTERS[0], strides=2))
    for filters in FILTERS[1:]:
        main = conv(layers.ReLU()(conv(x, filters, strides=2)), filters)
        skip = conv(layers.AveragePooling2D(2, padding="same")(x), filters, size=1)
        x = layers.ReLU()(layers.Add()([main, skip]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(pixels, layers.Dense(GENRES, activation="sigmoid", dtype="float32")(x))


class _WordDropout(layers.Layer):
    """Replaces a fifth of the words by the unknown word in training."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = keras.random.SeedGenerator()

    def call(self, tokens: Any, training: bool = False) -> Any:
        if not training:
            return tokens
        dropped = keras.random.uniform(ops.shape(tokens), seed=self.seed) < 0.2
        return ops.where(ops.logical_and(dropped, tokens != 0), 1, tokens)


class _Pooling(layers.Layer):
    """Maximum and mean of the LSTM's states, and the scaled sum of the words' vectors, over the real words."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def compute_mask(self, *inputs: Any, **masks: Any) -> None:
        return

    def call(self, states: Any, vectors: Any, real: Any) -> Any:
        real = ops.cast(real, states.dtype)[:, :, None]
        count = ops.maximum(ops.sum(real, axis=1), 1)
        most = ops.max(ops.where(real > 0, states, -1e4), axis=1)
        mean = ops.sum(states * real, axis=1) / count
        return ops.concatenate([most, mean, ops.sum(vectors * real, axis=1) / ops.sqrt(count)], axis=-1)


def _lstm_pooled() -> keras.Model:
    """Build `kgenre.models.overview_lstm_pooled`, without its faster layers and its initialisation from the films."""
    tokens = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(VOCABULARY, VECTOR, mask_zero=True)(_WordDropout()(tokens))
    vectors = layers.SpatialDropout1D(0.3)(vectors)
    states = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True))(vectors)
    x = layers.Dropout(0.5)(_Pooling()(states, vectors, ops.not_equal(tokens, 0)))
    return keras.Model(tokens, layers.Dense(GENRES, activation="sigmoid", dtype="float32")(x))
