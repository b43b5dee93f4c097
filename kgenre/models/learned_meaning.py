"""What a trained network's outputs and token ids stand for: with other data they would stand for something else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from kgenre.training import TrainerError

_ADVICE = (
    "Use the data of its run, FilmData.load_from_checkpoint(RUN), with path=FOLDER for other films, or create a new "
    "GenreClassifier."
)


def numbered_genres(count: int) -> tuple[str, ...]:
    """The names of outputs whose genres are unknown, as with batches without a datamodule."""
    return tuple(f"genre_{i}" for i in range(count))


def vocabulary_hash(words: Any) -> str:
    """A hash of the words of a vocabulary in their order; "" if there are none."""
    if not words or not isinstance(words, list | tuple):  # a user's own data may have something else of this name
        return ""
    return hashlib.blake2b("\n".join(map(str, words)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def check_same_genres(own: Sequence[str], names: Sequence[str]) -> None:
    """Check that the data have the genres that the outputs stand for, in this order; nothing if these are unknown.

    Raises:
        TrainerError: they differ.
    """
    if own and tuple(own) != tuple(names) and tuple(own) != numbered_genres(len(own)):
        differing = sorted({*own} ^ {*names})
        what = f"such as {differing[0]}" if differing else "in another order"
        raise TrainerError(f"The data's genres are not those that the model was trained on ({what}). {_ADVICE}")


def check_same_words(own: str, vocabulary: str) -> None:
    """Check that token ids stand for the same words: the data's `vocabulary_hash`; nothing if one is unknown.

    Raises:
        TrainerError: they differ.
    """
    if own and vocabulary and own != vocabulary:
        raise TrainerError(
            f"The data's vocabulary is not the one that the model was trained on: token ids are other words. {_ADVICE}"
        )


def check_same_vocabulary_size(own: int | None, requested: int | None) -> None:
    """Check that the data request the vocabulary size that the network has; nothing if one is unknown.

    Their words may be the same, as both sizes are upper limits, but whoever reads the checkpoint builds the network
    with the size of its data.

    Raises:
        TrainerError: they differ.
    """
    if own and requested and own != requested:
        raise TrainerError(
            f"The network was built for vocabulary_size={own}, but the data have vocabulary_size={requested}. {_ADVICE}"
        )
