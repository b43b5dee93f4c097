"""Layouts of film data on disk; `read_films` looks at the data and chooses.

========================  ==========================================================  =========================
``format``                file and identifying columns                                posters, next to it
========================  ==========================================================  =========================
``films``                 ``films.csv``: id, genres joined by ``|``                   column ``poster``
``course``                ``IMDB_overview_genres.csv``: Id, Genre, Overview           ``Images/<Id>.jpg``
``multi_label``           ``whole.csv`` of Multi_Label_dataset: Id, Genre             ``Images/<Id>.jpg``
``mmimdb``                ``split.json`` of MM-IMDb: train, dev, test                 ``dataset/<id>.jpeg``
``mmimdb_hdf5``           ``multimodal_imdb.hdf5``, ``metadata.npy`` for overviews     in the file
``movie_genre``           Kaggle's ``MovieGenre.csv``: imdbId, Genre, Poster          ``Images/<imdbId>.jpg``
``movies_metadata``       ``movies_metadata.csv``: genres as a Python list, imdb_id   ``Images/<id>.jpg``
``tmdb_5000``             ``tmdb_5000_movies.csv``: genres as JSON, keywords          ``Images/<id>.jpg``
``tmdb_genre_ids``        TMDB API responses, CSV or JSON: genre_ids                  ``posters/<id>_poster.jpg``
``tmdb_top10k``           ``top10K-TMDB-movies.csv``: genre joined by commas          ``Images/<id>.jpg``
``wiki_movie_plots``      ``wiki_movie_plots_deduped.csv``: Wiki Page, Genre, Plot    ``Images/<page>.jpg``
``omdb``                  OMDb API responses, CSV or JSON: imdbID, Genre, Plot        ``Images/<imdbID>.jpg``
``imdb_1000``             ``IMDB-Movie-Data.csv``: Rank, Genre, Description           ``Images/<Rank>.jpg``
``json_films``            a JSON list, JSONL or Parquet file of films: title, genres  file name in ``poster``
``unlabelled``            films to predict: a CSV file without genres: id, overview   column ``poster``
``prepared``              ``manifest.json``, written by ``kgenre data prepare``       in its TFRecord shards
========================  ==========================================================  =========================

A folder with ``train.csv``, ``val.csv`` and ``test.csv`` in one of these layouts is read with that split. One without a
table is read by genre if it has a folder of posters per genre, and as films to predict if it has posters only.
``Images/`` may have any other name and be nested deeper (see ``poster_search``); MM-IMDb's ``dataset/`` may not.
Posters and overviews may be missing. Each genre gets a single name from ``kgenre.data.genres`` (Science Fiction =
Sci-Fi); the course's layouts have those names already.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kgenre.data.errors import FilmDataError, shortened_list
from kgenre.data.film_table import FilmTable
from kgenre.data.formats import picture_folders
from kgenre.data.formats import published_tables as published
from kgenre.data.formats.course import COURSE, MULTI_LABEL
from kgenre.data.formats.films_csv import FILMS, UNLABELLED
from kgenre.data.formats.given_parts import parts_in
from kgenre.data.formats.json_films import JSON_FILMS
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.layout_choice import TABLES, advice_for, layout_of, layouts
from kgenre.data.formats.mmimdb import MMIMDB
from kgenre.data.formats.mmimdb_hdf5 import MMIMDB_HDF5
from kgenre.data.formats.prepared import PREPARED
from kgenre.data.genres import genre_notes, with_common_names

# In order of preference: a folder with the first two is read as films.csv, which has titles and years.
FORMATS: dict[str, Layout] = {
    "films": FILMS,
    "course": COURSE,
    "multi_label": MULTI_LABEL,
    "mmimdb": MMIMDB,
    "mmimdb_hdf5": MMIMDB_HDF5,
    "movie_genre": published.MOVIE_GENRE,
    "movies_metadata": published.MOVIES_METADATA,
    "tmdb_5000": published.TMDB_5000,
    "tmdb_genre_ids": published.TMDB_GENRE_IDS,
    "tmdb_top10k": published.TMDB_TOP10K,
    "wiki_movie_plots": published.WIKI_MOVIE_PLOTS,
    "omdb": published.OMDB,
    "imdb_1000": published.IMDB_1000,
    "json_films": JSON_FILMS,
    "prepared": PREPARED,
    "unlabelled": UNLABELLED,  # last: all other layouts have genres
}
# A folder with more JSON files than this has one per film, and none of them is a table.
MAX_JSON_TABLES = 20


def read_films(path: str | os.PathLike[str], format: str = "auto") -> FilmTable:
    """Read films from a folder, or a CSV, JSON or Parquet file; ``table.source`` names the detected layout.

    Args:
        path: a folder (the film data may be in its only subfolder), or the file itself, under any name.
        format: "auto" looks at the column names. Of the layouts that fit a file it takes the one with the file's name,
            otherwise the one that requires most columns; of the files in a folder it takes the one whose layout is
            first in ``FORMATS``, or all of them if they are named after the parts of a split. A key of ``FORMATS``,
            such as "films" or "movie_genre", forces that layout.

    Returns:
        The films. Posters are not opened here; rows that are not films are listed in ``table.left_out``.

    Raises:
        FilmDataError: no such path, no known layout, columns missing, a file that cannot be read, or no films.

    Example:
        >>> table = read_films("films")
        >>> table.source, len(table), table.genre_names[:2]
        ('the films.csv layout, films/films.csv', 120, ('Action', 'Animation'))
    """
    if format != "auto" and format not in FORMATS:
        raise FilmDataError(f"format={format!r} must be one of 'auto', {', '.join(map(repr, FORMATS))}.")
    if not os.fspath(path):  # `Path` would take it for the current folder
        raise FilmDataError("The path of the films is ''. Give a folder or table of films; . is the current folder.")
    path = Path(os.path.expanduser(path))  # pathlib's own raises an error for an unknown user
    formats = FORMATS if format == "auto" else {format: FORMATS[format]}
    try:
        if path.is_dir():
            table = _read_folder(path, formats)
        elif path.is_file():
            table = layout_of(path, formats).read(path)
        else:
            known = next((p for p in path.absolute().parents if p.exists()), Path("/"))
            raise FilmDataError(
                f"No such file or folder: {path} ({known} exists). Give the folder that has the CSV file."
            )
    except OSError as error:  # such as a folder that may not be listed, or not entered
        raise FilmDataError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from error
    table = with_common_names(table)
    root = table.root or (path if path.is_dir() else path.parent)
    return replace(table, root=root, notes=(*table.notes, *genre_notes(table)))


def _read_folder(folder: Path, formats: dict[str, Layout]) -> FilmTable:
    # An unpacked archive is often a folder within a folder, and users give the outer one.
    inner = picture_folders.folders_in(folder)
    only = inner[0] if len(inner) == 1 else folder
    # No table and two or more folders of pictures: one per genre. The posters of a table would be in a single folder.
    if len(formats) > 1 and not _tables(folder) and picture_folders.has_genres(folder):
        return picture_folders.read_genres(folder)
    for root in dict.fromkeys((folder, only)):
        if (table := _read_table(root, formats)) is not None:
            return table
    found = [p.name + "/" * p.is_dir() for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    names = {layout.file_name for layout in formats.values()}
    above = folder.absolute().parent
    if any((above / name).is_file() for name in names):  # the folder of posters was given
        raise FilmDataError(f"{folder} has no table of films, but the folder above it has. Give {above}.")
    if len(tables := _tables(folder)) == 1:
        layout_of(tables[0], formats)  # the user must mean this one: raises an error about what is wrong with it
    advice = advice_for(folder, names)
    stems = {Path(name).stem for name in names}
    if not advice and len(likely := [path for path in tables if path.stem in stems]) == 1:
        layout_of(likely[0], formats)
    if len(formats) > 1 and not advice and not tables:
        if picture_folders.has_genres(only):
            return picture_folders.read_genres(only)
        if picture_folders.has_posters(folder):
            return picture_folders.read_posters(folder)
    advice = advice or f"Give a folder with {layouts(formats)}."
    raise FilmDataError(f"{folder} has no film data in a known layout. It has: {shortened_list(found)}.\n{advice}")


def _read_table(root: Path, formats: dict[str, Layout]) -> FilmTable | None:
    tables = _tables(root)
    fits: dict[Path, Layout] = {}
    for p in tables:
        with suppress(FilmDataError, OSError):  # unrelated files in the folder need not be readable
            fits[p] = layout_of(p, formats)
    for layout in formats.values():
        fitting = [p for p, fit in fits.items() if fit is layout]
        named = [p for p in fitting if p.name == layout.file_name] or fitting
        if len(named) > 1 and layout.in_parts and (parts := parts_in(named)):
            return layout.read(*parts)
        if len(named) > 1:
            raise FilmDataError(
                f"{root} has {len(named)} files that fit: {shortened_list(p.name for p in named)}. "
                f"Give one of them, such as {named[0]}."
            )
        if named:
            return layout.read(named[0])
    for layout in formats.values():
        if (file := root / layout.file_name) in tables:
            layout_of(file, {"": layout})  # right name, wrong columns: raises an error that names those missing
    return None


def _tables(root: Path) -> list[Path]:
    files = sorted(p for p in root.iterdir() if p.suffix.lower() in TABLES and not p.name.startswith("."))
    in_json = [p for p in files if p.suffix.lower() == ".json"]
    many = len(in_json) > MAX_JSON_TABLES
    return [p for p in files if p.is_file() and not (many and p in in_json and p.name != MMIMDB.file_name)]
