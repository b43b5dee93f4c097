"""The sample set: invented films, generated locally so that everything runs without a download.

Posters and overviews depend on the genres, each with independent noise: a network can learn from either, and more from
both together. Posters are drawn with Pillow, overviews written by a small grammar; the same seed gives the same bytes.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from kgenre.checkpoints.files import move
from kgenre.data.errors import FilmDataError
from kgenre.data.poster_decoding import OnProgress
from kgenre.data.sample.genres import draw_genres
from kgenre.data.sample.overview import write_overview
from kgenre.data.sample.title import invent_title
from kgenre.engines.cache_folder import cache_folder

# Part of the folder's name in the cache: raise it whenever the films change.
_VERSION = 1
_MOST = 1_000_000
_YEARS = 64  # 1960 to 2023; the next film with a title that had one in every year is "The Last Road 2"


def make_sample_films(
    directory: str | os.PathLike[str], n: int = 600, seed: int = 0, on_progress: OnProgress | None = None
) -> Path:
    """Make ``n`` films as ``films.csv`` with ``posters/`` in a new folder.

    The folder (``films.csv`` in a folder that exists already) appears only when all films are complete.

    Args:
        directory: a folder that does not exist yet, or is empty.
        n: the number of films.
        seed: another seed gives other films.
        on_progress: called with (films made, all films) after each film.

    Returns:
        The folder.

    Raises:
        FilmDataError: ``n`` is below 1 or above a million, ``seed`` is below 0, or the folder is not empty or cannot
            be written.

    Example:
        >>> len(read_films(make_sample_films("sample", n=20)))
        20
    """
    if not 1 <= n <= _MOST:
        raise FilmDataError(f"The number of sample films must be from 1 to {_MOST}. Received: {n}")
    if seed < 0:
        raise FilmDataError(f"The seed of sample films must be 0 or more. Received: {seed}")
    directory = Path(os.path.expanduser(directory))
    try:
        is_there = directory.exists()
        if is_there and (not directory.is_dir() or any(directory.iterdir())):
            raise FilmDataError(f"{directory} exists and is not an empty folder. Give a new one.")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory if is_there else directory.parent, prefix=".making-") as making:
            made = Path(making) / "films"
            _make(made, n, seed, on_progress)
            if is_there:  # keep the folder itself: it may be the working directory, a link or a mount point
                move(made / "posters", directory / "posters")
                move(made / "films.csv", directory / "films.csv")
            else:
                move(made, directory)
    except OSError as error:
        raise FilmDataError(f"The sample films cannot be written to {directory}: {error.strerror}.") from error
    return directory


def sample_films(n: int = 600, seed: int = 0) -> Path:
    """Return the folder of the sample set in the user's cache; the first call creates it, which takes some seconds.

    Args:
        n: the number of films.
        seed: another seed gives other films.

    Raises:
        FilmDataError: the cache cannot be written.

    Example:
        >>> len(read_films(sample_films(n=20)))
        20
    """
    folder = cache_folder() / f"sample-films-v{_VERSION}-{n}-{seed}"
    table = folder / "films.csv"
    # `Path.exists` raises an error in a home that this user may not enter. The folder first: another process may move
    # all of it into place at any moment.
    is_there = os.path.exists(folder)
    if not os.path.exists(table):
        if is_there:  # parts of it were deleted, such as by a clean-up of the cache
            shutil.rmtree(folder, ignore_errors=True)
        try:
            make_sample_films(folder, n, seed)
        except FilmDataError as error:
            if os.path.exists(table):  # another process was faster
                return folder
            raise FilmDataError(f"{error} Set KGENRE_CACHE to a writable folder.") from error
    return folder


def _make(folder: Path, n: int, seed: int, on_progress: OnProgress | None) -> None:
    from kgenre.data.sample.poster import draw_poster  # imports Pillow

    (folder / "posters").mkdir(parents=True)
    titles: set[tuple[str, int]] = set()
    films_of: Counter[str] = Counter()
    with (folder / "films.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", "title", "year", "overview", "genres", "poster"])
        for i in range(n):
            # A generator per film: film 7 is the same film among 20 and among 600.
            rng = np.random.default_rng([seed, i])
            genres = draw_genres(rng)
            title, year = invent_title(rng, genres), 1960 + int(rng.integers(_YEARS))
            # Films with the same title and year would count as duplicates.
            films_of[title] += 1
            if films_of[title] > _YEARS:
                title = f"{title} {(films_of[title] - 1) // _YEARS + 1}"
            while (title, year) in titles:
                year = 1960 + int(rng.integers(_YEARS))
            titles.add((title, year))
            film_id = f"sample{i:05d}"
            poster = f"posters/{film_id}.jpg"
            draw_poster(rng, genres, title).save(folder / poster, quality=85)
            rows.writerow([film_id, title, year, write_overview(rng, genres), "|".join(sorted(genres)), poster])
            if on_progress:
                on_progress(i + 1, n)
