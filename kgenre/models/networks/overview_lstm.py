"""The overview LSTM of both editions of the course."""

from __future__ import annotations

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.bidirectional import Bidirectional

SMALLEST_VOCABULARY = 3  # padding, the unknown word, one word


def overview_lstm(
    genres: int = 25,
    vocabulary_size: int = 10_000,
    embedding_dim: int = 256,
    dropout: float = 0.5,
    recurrent_dropout: float = 0.2,
    dense_dropout: float = 0.8,
) -> keras.Sequential:
    """Build the course's overview LSTM: an embedding, two bidirectional LSTMs (256 and 128), one dense layer.

    4,303,129 parameters with ``embedding_dim=256`` (edition 2024), 4,411,561 with 265 (edition 2025). The
    course trains it with Adam at Keras's default rate (1e-3), binary cross-entropy, batch 64 (2025: 32), 20
    epochs.

    Input: int32 (B, T) token ids of any T, as ``TextVectorization`` returns them: 0 is padding, 1 the unknown
    word. Padding is masked: more of it on the right changes no prediction. Output: float32 (B, genres), an
    independent probability per genre (sigmoid), float32 under a mixed-precision policy too.

    Args:
        genres: number of genres.
        vocabulary_size: number of token ids, padding and the unknown word included.
        embedding_dim: length of a word's vector.
        dropout: rate on the inputs of both LSTMs.
        recurrent_dropout: rate on the recurrent state of both. Under TensorFlow on a GPU, 0 lets both LSTMs use cuDNN,
            which the course's 0.2 rules out.
        dense_dropout: rate after the dense layer.

    Returns:
        A built model. Its weights are float32 whatever ``keras.json`` says; the compute dtype follows a mixed
        policy set with ``keras.config.set_dtype_policy`` before the call.

    Raises:
        ValueError: ``vocabulary_size`` leaves no room for a word, or a rate is not at least 0 and below 1.

    Example:
        >>> overview_lstm(embedding_dim=265).count_params()
        4411561
    """
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise ValueError(
            f"overview_lstm needs a vocabulary_size of at least {SMALLEST_VOCABULARY} (padding, the unknown "
            f"word and one word), e.g. 10_000. Received: vocabulary_size={vocabulary_size}."
        )
    if not (0 <= dropout < 1 and 0 <= recurrent_dropout < 1):  # Keras's LSTM ignores others
        raise ValueError("dropout and recurrent_dropout must be at least 0 and below 1.")
    prepare_keras()

    def both_ways(index: int, units: int, return_sequences: bool) -> layers.Layer:
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        return Bidirectional(layers.LSTM(units, return_sequences=return_sequences, **rates), name=f"BiLSTM{index}")

    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="overview"),
            layers.Embedding(vocabulary_size, embedding_dim, mask_zero=True, name="Embedding"),
            both_ways(1, 256, return_sequences=True),
            both_ways(2, 128, return_sequences=False),
            layers.Dense(128, activation="relu", name="Dense1"),
            layers.Dropout(dense_dropout, name="DropDense"),
            # In half precision a sigmoid rounds to exactly 0 or 1, where the cross-entropy is clipped.
            layers.Dense(genres, activation="sigmoid", dtype="float32", name="Output"),
        ],
        name="overview_lstm",
    )
