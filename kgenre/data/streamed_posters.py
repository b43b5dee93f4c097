"""Posters decoded when a batch needs them, if a table of them would not fit: memory does not grow with the films."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.packed_columns import ExaminedPosters, PosterPaths
from kgenre.data.poster_decoding import decode_posters
from kgenre.data.poster_resizing import Pixels

_log = logging.getLogger("kgenre")


class StreamedPosters:
    """The posters of a table's films, decoded again for each batch.

    A poster that turns out to be bad, or was removed after the run began, is black and its film has weight 0: it is
    logged once, and counted.

    Args:
        ids: n film ids, for messages.
        paths: their poster files.
        files: what `examine_posters` returned for them.
        image_size: (height, width) in pixels.
        resize: see `decode_posters`.
        max_bad_fraction: stop the run if more than this share of the films have a bad poster.
    """

    def __init__(
        self,
        ids: Sequence[str],
        paths: PosterPaths,
        files: ExaminedPosters,
        image_size: tuple[int, int],
        resize: str = "squash",
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.ids, self.paths, self.files = ids, paths, files
        self.image_size, self.resize = image_size, resize
        self.max_bad_fraction = max_bad_fraction
        self.bad: dict[str, str] = {}  # id -> reason

    def batches(
        self, rows: npt.NDArray[np.integer], weights: npt.NDArray[np.float32]
    ) -> Iterator[tuple[Pixels, npt.NDArray[np.float32]]]:
        """Yield for each batch of ``rows`` (batches, B) its posters, uint8 (B, H, W, 3), and weights, 0 for bad ones.

        Raises:
            FilmDataError: too many posters are bad; the message names some.
        """
        size = rows.shape[1]
        wanted = rows.ravel()
        paths, files = self.paths.take(wanted).texts, self.files.take(wanted)
        for found in decode_posters(paths, files, self.image_size, self.resize):
            for position, poster, reason in zip(*found, strict=True):
                number, place = divmod(position, size)
                if not place:
                    posters, batch_weights = np.zeros((size, *self.image_size, 3), np.uint8), weights[number].copy()
                posters[place] = poster
                if reason:
                    batch_weights[place] = 0
                    self._note(self.ids[wanted[position]], reason)
                if place == size - 1:
                    yield posters, batch_weights

    def _note(self, film_id: str, reason: str) -> None:
        if film_id in self.bad:
            return
        self.bad[film_id] = reason
        _log.warning("The poster of film %s cannot be used: %s. The film is left out.", film_id, reason)
        if len(self.bad) / len(self.ids) > self.max_bad_fraction:  # see `bad_films`
            some = "; ".join(f"{i}: {why}" for i, why in list(self.bad.items())[:3])
            raise FilmDataError(
                f"{len(self.bad):,} of {len(self.ids):,} posters could not be read during training: {some}.\n"
                f"Does the folder still exist? At most max_bad_fraction={self.max_bad_fraction:.2g} of them may be bad."
            )
