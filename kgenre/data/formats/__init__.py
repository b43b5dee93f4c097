"""Layouts of film data on disk, one reader a file; `read_films` looks at the data and chooses.

========================  ==========================================================  =========================
``format``                file and what it is known by                                posters, beside it
========================  ==========================================================  =========================
``films``                 ``films.csv``: id, genres joined by ``|``                   its column ``poster``
``course``                ``IMDB_overview_genres.csv``: Id, Genre, Overview           ``Images/<Id>.jpg``
``multi_label``           ``whole.csv`` of Multi_Label_dataset: Id, Genre             ``Images/<Id>.jpg``
``mmimdb``                ``split.json`` of MM-IMDb: train, dev, test                 ``dataset/<id>.jpeg``
``mmimdb_hdf5``           ``multimodal_imdb.hdf5``, ``metadata.npy`` for overviews     in the file
``movie_genre``           Kaggle's ``MovieGenre.csv``: imdbId, Genre, Poster          ``Images/<imdbId>.jpg``
``movies_metadata``       ``movies_metadata.csv``: genres as Python, imdb_id          ``Images/<id>.jpg``
``tmdb_5000``             ``tmdb_5000_movies.csv``: genres as JSON, keywords          ``Images/<id>.jpg``
``tmdb_genre_ids``        TMDB's answers, CSV or JSON: genre_ids                      ``posters/<id>_poster.jpg``
``tmdb_top10k``           ``top10K-TMDB-movies.csv``: genre joined by commas          ``Images/<id>.jpg``
``wiki_movie_plots``      ``wiki_movie_plots_deduped.csv``: Wiki Page, Genre, Plot    ``Images/<page>.jpg``
``omdb``                  OMDb's answers, CSV or JSON: imdbID, Genre, Plot            ``Images/<imdbID>.jpg``
``imdb_1000``             ``IMDB-Movie-Data.csv``: Rank, Genre, Description           ``Images/<Rank>.jpg``
``json_films``            a JSON list, JSONL or Parquet file of films: title, genres  its name in ``poster``
``unlabelled``            films to predict: a CSV file without genres: id, overview   its column ``poster``
``prepared``              ``manifest.json``, written by ``kgenre data prepare``       in its TFRecord shards
========================  ==========================================================  =========================

A folder with ``train.csv``, ``val.csv`` and ``test.csv`` of one of them is read with this split. One without any that
has a folder of posters for each genre is read as such, one of posters alone as films to predict. ``Images/`` may have
any other name and lie deeper (``poster_search``; not so MM-IMDb's ``dataset/``). Posters and overviews may be missing.
Genres get one name each, by ``kgenre.data.genre_names`` (Science Fiction = Sci-Fi), except in the course's layouts,
which have them already. A layout is a module with ``FILE_NAME``, ``COLUMNS``, ``SUFFIXES``, ``LAYOUT`` (a line for
people), ``missing_columns(header)`` and ``read(path)``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from kgenre.data.doubtful_genres import doubts_about_genres
from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats import (
    course,
    films_csv,
    genre_folders,
    imdb_1000,
    json_films,
    mmimdb,
    mmimdb_hdf5,
    movie_genre,
    movies_metadata,
    multi_label,
    omdb,
    poster_folder,
    prepared,
    tmdb_5000,
    tmdb_genre_ids,
    tmdb_top10k,
    unlabelled,
    wiki_movie_plots,
)
from kgenre.data.formats.given_parts import parts_in, read_parts
from kgenre.data.formats.json_rows import JSON_SUFFIXES
from kgenre.data.formats.layout_choice import best_fit, layout_of, layouts, some
from kgenre.data.formats.wrong_folder import what_to_give
from kgenre.data.genre_names import with_common_names
from kgenre.data.uncollected import uncollected

# In order of preference: a folder that has the first two is read as films.csv, which knows titles and years.
FORMATS: dict[str, ModuleType] = {
    "films": films_csv,
    "course": course,
    "multi_label": multi_label,
    "mmimdb": mmimdb,
    "mmimdb_hdf5": mmimdb_hdf5,
    "movie_genre": movie_genre,
    "movies_metadata": movies_metadata,
    "tmdb_5000": tmdb_5000,
    "tmdb_genre_ids": tmdb_genre_ids,
    "tmdb_top10k": tmdb_top10k,
    "wiki_movie_plots": wiki_movie_plots,
    "omdb": omdb,
    "imdb_1000": imdb_1000,
    "json_films": json_films,
    "prepared": prepared,
    "unlabelled": unlabelled,  # last: what else may be read has genres
}
# A folder with more JSON files than this has one a film, and none of them is a table.
MAX_JSON_TABLES = 20


def read_films(path: str | os.PathLike[str], format: str = "auto") -> FilmTable:
    """Read films from a folder or a CSV or JSON file; ``table.source`` says which layout was found.

    Args:
        path: a folder (or the one folder in it that has film data), or the file itself, under any name.
        format: "auto" looks at the names of the columns and takes, of the layouts that fit a file, the one with the
            file's name, or else the one that asks for most columns; of the files in a folder it takes the one whose
            layout is first in ``FORMATS``, or all where they are named by the parts of a split. The names there, such
            as "films" or "movie_genre", force a layout.

    Returns:
        The films. Posters are not opened here; a row that is no film is in ``table.left_out``.

    Raises:
        FilmDataError: no such path, no known layout, columns missing, a file that cannot be read, or no films.

    Example:
        >>> table = read_films("films")
        >>> table.source, len(table), table.genre_names[:2]
        ('the films.csv layout, films/films.csv', 120, ('Action', 'Animation'))
    """
    if format != "auto" and format not in FORMATS:
        raise FilmDataError(f"format={format!r} is not known. Give 'auto', {', '.join(map(repr, FORMATS))}.")
    if not os.fspath(path):  # which `Path` takes for the folder that the program runs in
        raise FilmDataError("The path of the films is ''. Give a folder or table of films; . is the current folder.")
    path = Path(path).expanduser()
    formats = FORMATS if format == "auto" else {format: FORMATS[format]}
    if path.is_dir():
        if format == "auto" and (films := _by_genre(path)):
            return with_common_names(replace(films, root=path))
        file, layout = _find(path, formats)
    elif path.is_file():
        file, layout = path, layout_of(path, formats)
    else:
        known = _closest_parent(path)
        raise FilmDataError(f"No such file or folder: {path} ({known} exists). Give the folder that has the CSV file.")
    with uncollected():
        table = with_common_names(read_parts(file, layout) if isinstance(file, dict) else layout.read(file))
    root = table.root or (path if path.is_dir() else path.parent)
    return replace(table, root=root, notes=(*table.notes, *doubts_about_genres(table)))


def _by_genre(folder: Path) -> FilmTable | None:
    # Two folders of pictures and no table: a table's posters lie in one folder, or beside others without pictures.
    if _tables(folder) or not genre_folders.genre_folders(folder):
        return None
    return genre_folders.read(folder)


def _find(folder: Path, formats: dict[str, ModuleType]) -> tuple[Path | dict[str, Path], ModuleType]:
    # An unpacked archive often is a folder in a folder; the outer one is what people give.
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))
    for root in (folder, inner[0] if len(inner) == 1 else folder):
        tables = _tables(root)
        fits = {p: best_fit(p, formats) for p in tables}
        for layout in formats.values():
            fitting = [p for p in tables if fits[p] is layout]
            named = [p for p in fitting if p.name == layout.FILE_NAME] or fitting
            if len(named) > 1 and (parts := parts_in(named)):
                return parts, layout
            if len(named) > 1:
                raise FilmDataError(
                    f"{root} has {len(named)} files that fit: {some(p.name for p in named)}. "
                    f"Give one of them, such as {named[0]}."
                )
            if named:
                return named[0], layout
        for layout in formats.values():
            if root / layout.FILE_NAME in tables:  # it has the name but not the columns: say which are missing
                return root / layout.FILE_NAME, layout_of(root / layout.FILE_NAME, {"": layout})
    found = [p.name + "/" * p.is_dir() for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    names = {layout.FILE_NAME for layout in formats.values()}
    above = folder.absolute().parent
    if any((above / name).is_file() for name in names):  # the folder of posters was given
        raise FilmDataError(f"{folder} has no table of films, but the folder above it has. Give {above}.")
    if len(tables := _tables(folder)) == 1:  # it must be meant: say what is wrong with it
        return tables[0], layout_of(tables[0], formats)
    advice = what_to_give(folder, names)
    if len(formats) > 1 and not advice and not tables and poster_folder.has_posters(folder):
        return folder, poster_folder
    advice = advice or f"Give a folder with {layouts(formats)}."
    raise FilmDataError(f"{folder} has no film data that is known. It has: {some(found)}.\n{advice}")


def _tables(root: Path) -> list[Path]:
    files = sorted(
        p
        for p in root.iterdir()
        if p.suffix.lower() in (".csv", ".hdf5", *JSON_SUFFIXES) and not p.name.startswith(".")
    )
    in_json = [p for p in files if p.suffix.lower() == ".json"]
    many = len(in_json) > MAX_JSON_TABLES
    return [p for p in files if p.is_file() and not (many and p in in_json and p.name != mmimdb.FILE_NAME)]


def _closest_parent(path: Path) -> Path:
    return next((p for p in path.absolute().parents if p.exists()), Path("/"))
