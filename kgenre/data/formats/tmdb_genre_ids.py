"""What TMDB's lists of films give, as CSV or JSON: ``genre_ids`` is a list of TMDB's numbers, such as ``[18, 80]``.

Posters are looked for in the folders beside it, as ``<id>.jpg`` or ``<id>_poster.jpg``, by
``imdb_id`` or by the name in ``poster_path``. Columns of 0 and 1 named by the numbers are not read.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import listed_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "movies.json"
COLUMNS = ("id", "genreids", "title")
SUFFIXES = (".csv", ".json")
LAYOUT = f"{FILE_NAME} or .csv (TMDB's id, title, overview, genre_ids as numbers, release_date)"

# https://developer.themoviedb.org/reference/genre-movie-list, and 10769, which TMDB no longer gives.
GENRES = {
    "12": "Adventure",
    "14": "Fantasy",
    "16": "Animation",
    "18": "Drama",
    "27": "Horror",
    "28": "Action",
    "35": "Comedy",
    "36": "History",
    "37": "Western",
    "53": "Thriller",
    "80": "Crime",
    "99": "Documentary",
    "878": "Science Fiction",
    "9648": "Mystery",
    "10402": "Music",
    "10749": "Romance",
    "10751": "Family",
    "10752": "War",
    "10769": "Foreign",
    "10770": "TV Movie",
}


def _genres_in(text: str) -> list[str] | None:
    numbers = listed_genres(text)
    # A number that TMDB adds one day stays visible as a number instead of costing the film.
    return numbers and [GENRES.get(number, number) for number in numbers]


_COLUMNS = NamedColumns(
    "the layout of TMDB's genre_ids",
    COLUMNS,
    id="id",
    genres="genreids",
    genres_in=_genres_in,
    year="releasedate",
    overview="overview",
    poster="posterpath",
    other_ids=("imdbid",),
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV or JSON file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("movies.json")).genres_of(0)
        ('Drama', 'Fantasy', 'Romance')
    """
    return _COLUMNS.read(path)
