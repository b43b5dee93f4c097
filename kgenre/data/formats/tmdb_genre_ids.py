"""What TMDB's lists of films give, as CSV or JSON: ``genre_ids`` is a list of TMDB's numbers, such as ``[18, 80]``.

Posters are looked for in the folders beside it, as ``<id>.jpg`` or ``<id>_poster.jpg``, by
``imdb_id`` or by the name in ``poster_path``. Columns of 0 and 1 named by the numbers are not read.
"""

from __future__ import annotations

from kgenre.data.formats.genre_cell import listed_genres
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.named_columns import NamedColumns

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


TMDB_GENRE_IDS = Layout(
    "movies.json",
    "or .csv (TMDB's id, title, overview, genre_ids as numbers, release_date)",
    ("id", "genreids", "title"),
    NamedColumns(
        "the layout of TMDB's genre_ids",
        genres="genreids",
        genres_in=_genres_in,
        year="releasedate",
        poster="posterpath",
        other_ids=("imdbid",),
    ).read,
    kinds=(".csv", ".json"),
)
