"""Layouts of published film tables, CSV or JSON, that have one column per field.

The tables come without posters, which are searched for in the folders next to them, by id or by the other names that
`NamedColumns` tries.
"""

from __future__ import annotations

from functools import partial

from kgenre.data.formats.genre_cell import joined_genres, listed_genres
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.named_columns import NamedColumns, Rows

_at_commas = partial(joined_genres, separators=",")


# From Kaggle. The id tt0114709 is written 114709; `Poster` is a link; 0/1 columns are not read.
MOVIE_GENRE = Layout(
    "MovieGenre.csv",
    "(columns imdbId, Title, Genre, Poster) with Images/<imdbId>.jpg",
    ("imdbid", "genre", "poster"),
    NamedColumns(
        "the MovieGenre layout",
        id="imdbid",
        genres="genre",
        parse_genres=joined_genres,
        year="title",
        poster="poster",
    ).read,
)

# The Movies Dataset. Some rows of the published file are broken by a newline: they are left out, with the reason.
MOVIES_METADATA = Layout(
    "movies_metadata.csv",
    "(columns id, imdb_id, original_title, overview, genres as a Python list, release_date)",
    ("id", "genres", "imdbid", "originaltitle", "releasedate"),
    NamedColumns(
        "the movies_metadata.csv layout",
        year="releasedate",
        poster="posterpath",
        other_ids=("imdbid",),
    ).read,
)


def _without_dollars(rows: Rows) -> Rows:
    """Remove the stray ``$`` that ends titles in some copies of TMDB 5000 (`column_key` removes it from columns)."""
    for number, row in rows:
        yield number, row and {**row, "title": row.get("title", "").removesuffix("$")}


TMDB_5000 = Layout(
    "tmdb_5000_movies.csv",
    "(columns id, original_title, overview, genres as JSON, keywords, release_date)",
    ("id", "genres", "keywords", "originaltitle", "releasedate"),
    NamedColumns(
        "the TMDB 5000 layout",
        year="releasedate",
        change=_without_dollars,
    ).read,
)


def _skip_reason(row: dict[str, str]) -> str:
    """Leave out rows with nothing but a title: some copies begin with "Choose A Movie", a menu's first entry."""
    has_more = any(text for name, text in row.items() if name not in ("id", "title"))
    return "" if has_more else f"{row['title']!r} has nothing but a title"


TMDB_TOP10K = Layout(
    "top10K-TMDB-movies.csv",
    "(columns id, title, genre joined by commas, overview, release_date)",
    ("id", "title", "genre", "overview"),
    NamedColumns(
        "the layout of TMDB's top 10k",
        genres="genre",
        parse_genres=_at_commas,
        year="releasedate",
        skip_reason=_skip_reason,
    ).read,
    exact=True,  # "Id", "Genre" and "Overview" are the coursework's columns
)


def _named_by_page(rows: Rows) -> Rows:
    """Make the last part of a page's address the film's id, with the title appended if several films share the page."""
    title_of: dict[str, str] = {}
    for number, row in rows:
        if row is not None:
            page = row["wikipage"].rstrip("/").rpartition("/")[2]
            shared = page and title_of.setdefault(page, row["title"]) != row["title"]
            row = {**row, "wikipage": f"{page} ({row['title']})" if shared else page}
        yield number, row


# From Kaggle. Genres are free text and kept as written: "comedy drama" is one genre, and most genres occur once.
WIKI_MOVIE_PLOTS = Layout(
    "wiki_movie_plots_deduped.csv",
    "(columns Release Year, Title, Genre, Wiki Page, Plot)",
    ("wikipage", "title", "genre", "plot"),
    NamedColumns(
        "the wiki_movie_plots layout",
        id="wikipage",
        genres="genre",
        parse_genres=partial(joined_genres, separators=",/;"),
        year="releaseyear",
        overview="plot",
        change=_named_by_page,
    ).read,
)

# Collected responses of the OMDb API: CSV, or a JSON list of films, or a JSON object with one such list.
OMDB = Layout(
    "omdb.json",
    "or .csv (OMDb's imdbID, Title, Year, Genre, Plot)",
    ("imdbid", "title", "genre", "plot"),
    NamedColumns(
        "the OMDb layout",
        id="imdbid",
        genres="genre",
        parse_genres=_at_commas,
        overview="plot",
        poster="poster",
    ).read,
    kinds=(".csv", ".json"),
)

# From Kaggle, with 1,000 films.
IMDB_1000 = Layout(
    "IMDB-Movie-Data.csv",
    "(columns Rank, Title, Genre joined by commas, Description, Year)",
    ("rank", "title", "genre", "description"),
    NamedColumns(
        "the IMDB-Movie-Data layout",
        id="rank",
        genres="genre",
        parse_genres=_at_commas,
        overview="description",
    ).read,
)

# https://developer.themoviedb.org/reference/genre-movie-list, and 10769, which TMDB no longer lists.
_TMDB_GENRES = {
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


def _numbered_genres(text: str) -> list[str] | None:
    numbers = listed_genres(text)
    # A genre that TMDB adds later is named by its number; the film need not be left out for it.
    return numbers and [_TMDB_GENRES.get(number, number) for number in numbers]


# Responses of the TMDB API. 0/1 columns named by genre number are not read.
TMDB_GENRE_IDS = Layout(
    "movies.json",
    "or .csv (TMDB's id, title, overview, genre_ids as numbers, release_date)",
    ("id", "genreids", "title"),
    NamedColumns(
        "the layout of TMDB's genre_ids",
        genres="genreids",
        parse_genres=_numbered_genres,
        year="releasedate",
        poster="posterpath",
        other_ids=("imdbid",),
    ).read,
    kinds=(".csv", ".json"),
)
