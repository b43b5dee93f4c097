"""A JSON, JSONL or Parquet list of films with ``title`` or ``id``, and ``genres`` (a list, or joined by ``|``).

``year`` and one of ``overview``, ``storyline``, ``plot``, ``extract`` or ``description`` are optional. A film without
``id`` gets its title and year as its id. ``poster`` is a path relative to the file, or a link; posters that are not
there are searched for in the folders next to the file, by their file name or by id.
"""

from __future__ import annotations

from kgenre.data.formats.genre_cell import LISTS, joined_genres
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.named_columns import NamedColumns, Rows

OVERVIEWS = ("overview", "storyline", "plot", "extract", "description")


def _genres_in(text: str) -> list[str] | None:
    is_list = text.startswith(LISTS)
    return None if "," in text and not is_list else joined_genres(text)  # "Drama, War" would be one genre


def _with_ids_and_overviews(rows: Rows) -> Rows:
    for number, row in rows:
        if row is not None:
            title = row.get("title", "")
            named = f"{title} ({row['year']})" if row.get("year") else title
            overview = next((row[name] for name in OVERVIEWS if row.get(name)), "")
            row = {**row, "id": row.get("id") or named, "overview": overview}
        yield number, row


JSON_FILMS = Layout(
    "films.json",
    "(a list of objects with title, genres as a list, year, overview)",
    ("title|id", "genres"),
    NamedColumns(
        "the layout of JSON lists",
        parse_genres=_genres_in,
        poster="poster",
        change=_with_ids_and_overviews,
    ).read,
    kinds=(".json",),
)
