"""The networks that are measured, the module that trains them, their work in FLOPs, and made-up films for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

GENRES, VOCABULARY, EMBEDDING, WORDS = 25, 10_000, 256, 68
OWN = 0  # in place of a padded length: each contestant pads in its own way
SEVERAL = 25  # steps per compiled call; logs are written every 50
EPOCH = 28  # batches per epoch with OWN: with fewer, kgenre would use fewer length buckets
# All that differs between the LSTMs: recurrent dropout, and whether padding is masked.
LSTMS = {
    "overview_lstm": (0.2, True),  # the course's
    "overview_lstm_cudnn": (0.0, True),  # without recurrent dropout, which rules cuDNN out
    "overview_lstm_unmasked": (0.0, False),  # also processes the padding
}
POSTERS = {"poster_cnn_2024": (64, 64), "poster_cnn_2025": (64, 64), "poster_resnet": (96, 64)}  # height, width
MODELS = ("poster_cnn_2024", "poster_cnn_2025", *LSTMS, "poster_resnet", "overview_lstm_pooled")
# Sizes of the last two, kgenre's own: channels of the stem and the blocks; length of a word vector, units of the LSTM.
FILTERS, VECTOR, UNITS = (16, 16, 32, 64, 96), 200 + GENRES, 48
LEARNING_RATE = 1e-4
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}  # of a Trainer; fp32 is TF32 where the device has it
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def build(name: str, stock: bool = False, dropout: bool = True) -> Any:
    """Return the Keras model; ``stock``: with Keras's own layers only, as one would write it without kgenre."""
    if stock:
        from networks_keras import stock_network

        return stock_network(name, dropout)
    from kgenre import models

    if dropout:
        none = {}
    elif name == "overview_lstm_pooled":
        none = {"dropout": 0.0, "embedding_dropout": 0.0, "word_dropout": 0.0}
    else:
        none = {"dropout": 0.0} | ({} if name == "poster_resnet" else {"dense_dropout": 0.0})
    if name not in LSTMS:
        return getattr(models, name)(**none)
    rate, masked = LSTMS[name]
    model = models.overview_lstm(recurrent_dropout=rate if dropout else 0.0, **none)
    model.get_layer("Embedding").mask_zero = masked
    return model


def module_of(name: str, build_model: Callable[[], Any]) -> Any:
    """Return a kgenre.Module that trains a model of this name on the batches of `films`."""
    import keras

    import kgenre

    class Network(kgenre.Module):
        def configure_model(self) -> None:
            self.model = build_model()

        def _loss(self, batch: Any, training: bool) -> Any:
            probabilities = self.model(scaled(name, batch["x"]), training=training)
            return keras.ops.mean(keras.losses.binary_crossentropy(batch["genres"], probabilities))

        def training_step(self, batch: Any, batch_idx: Any) -> Any:
            loss = self._loss(batch, True)
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: Any) -> None:
            self.log("val/loss", self._loss(batch, False))

        def configure_optimizers(self) -> Any:
            return keras.optimizers.Adam(LEARNING_RATE)

    return Network()


def overviews(batch_size: int, padding: str) -> list[dict[str, np.ndarray]]:
    """Create an epoch of overviews as long as real ones, padded to "buckets", the "longest" of a batch, or "all" to 68.

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
    else:  # to a multiple of four, like kgenre's buckets: each width is another program to compile
        widths = [WORDS if padding == "all" else -(-lengths[batch].max() // 4) * 4 for batch in plan.rows]
    return [
        {"x": words[batch, :width], "genres": genres[batch]} for batch, width in zip(plan.rows, widths, strict=True)
    ]


def films(name: str, batch_size: int, batches: int, words: int = WORDS, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Create batches of random films: uint8 posters, or token ids as long as real overviews (median 25), and genres.

    The longest overview of a batch has ``words`` words, and the others are padded to it.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(batches):
        genres = (random.random((batch_size, GENRES)) < 0.09).astype("float32")
        if name not in POSTERS:
            lengths = np.clip(random.lognormal(np.log(25), 0.4, batch_size).astype(int), 1, words)
            lengths[0] = words
            overview = random.integers(1, VOCABULARY, (batch_size, words), dtype="int32")
            made.append({"x": overview * (np.arange(words) < lengths[:, None]), "genres": genres})
        else:
            posters = random.integers(0, 256, (batch_size, *POSTERS[name], 3), dtype="uint8")
            made.append({"x": posters, "genres": genres})
    return made


def flops(name: str, batch_size: int, words: int = WORDS) -> float:
    """Return the multiplications and additions of one forward pass; training takes three times as many.

    Only matrix products and convolutions count. All time steps of an LSTM count, padded ones too: an implementation
    that skips them does less work and may look faster than the device.
    """
    if name in LSTMS:
        first = 2 * 2 * words * (EMBEDDING + 256) * 4 * 256
        second = 2 * 2 * words * (512 + 128) * 4 * 128
        return batch_size * float(first + second + 2 * (256 * 128 + 128 * GENRES))
    if name == "overview_lstm_pooled":
        return batch_size * 2.0 * (2 * words * (VECTOR + UNITS) * 4 * UNITS + (4 * UNITS + VECTOR) * GENRES)
    if name == "poster_resnet":
        work = 9 * 48 * 32 * 3 * FILTERS[0] + FILTERS[-1] * GENRES
        for index, (a, b) in enumerate(pairwise(FILTERS), 1):  # two 3x3 convolutions, one 1x1
            work += (48 >> index) * (32 >> index) * (9 * a * b + 9 * b * b + a * b)
        return batch_size * 2.0 * work
    if name == "poster_cnn_2024":
        blocks = [(32, 16, 32), (16, 32, 64), (8, 64, 128)]
        convolutions = [(32, 3, 16)] + [c for side, a, b in blocks for c in ((side, a, b), (side, b, b))]
        dense = 2048 * 1024 + 1024 * 1024 + 1024 * GENRES
        skips = 0
    else:
        blocks = [(64, 32, 32), (32, 32, 64), (16, 64, 128), (8, 128, 128)]
        convolutions = [(64, 3, 32)] + [c for side, a, b in blocks for c in ((side, a, b), (side, b, b))]
        dense, skips = 128 * 256 + 256 * GENRES, sum(side * side * a * b for side, a, b in blocks)
    return batch_size * 2.0 * (sum(9 * side * side * a * b for side, a, b in convolutions) + skips + dense)


def scaled(name: str, x: Any) -> Any:
    """Scale pixels from 0..255 to 0..1; return token ids as they are."""
    from keras import ops

    return ops.cast(x, "float32") / 255.0 if name in POSTERS else x
