"""Generated tables: texts with separators, quotes and line ends, in all encodings and dialects, are read as written."""

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgenre.data import read_films

pytestmark = pytest.mark.backend_free

TEXTS = st.text(st.sampled_from("ab,;|\t\"' \né“日"), max_size=8)
GENRES = st.lists(st.sampled_from(["War", "Sci-Fi", "It's"]), unique=True)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    films=st.lists(st.tuples(TEXTS, TEXTS, GENRES), min_size=1, max_size=5),
    columns=st.permutations(["title", "overview", "genres", "id"]),
    join=st.sampled_from(["|".join, " | ".join, repr, json.dumps]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    delimiter=st.sampled_from(",;\t"),
    lineterminator=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_is_read_as_it_was_written(write_csv, films, columns, join, **options):
    rows = [
        {"id": f"f{n}", "title": title, "overview": overview, "genres": join(genres)}
        for n, (title, overview, genres) in enumerate(films)
    ]
    table = read_films(write_csv("a.csv", [columns, *([row[name] for name in columns] for row in rows)], **options))
    assert table.ids == [row["id"] for row in rows]
    assert table.titles == [title.strip() for title, _, _ in films]
    assert table.overviews == [overview.strip() for _, overview, _ in films]
    assert [{*table.genres_of(n)} for n in range(len(table))] == [{*genres} for _, _, genres in films]
    assert not table.left_out
