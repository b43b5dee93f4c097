"""Columns of a table that take little memory and behave like the sequences that they contain."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kgenre.data import PosterFile, read_films
from kgenre.data.packed_columns import ExaminedPosters, PackedTexts, PosterPaths

pytestmark = pytest.mark.backend_free

TEXTS = ("Alien", "", "Amélie 東京", "half a letter \ud83c", "Alien")
PATHS = (Path("a/x.jpg"), None, Path("y.jpg"), Path("/top/b/.hidden"), Path("a/z"))
FILES = (
    PosterFile("", bytes(range(32)), 450, 300, True),
    PosterFile("no such file"),
    PosterFile("", b"ends in zeros".ljust(32, b"\0"), 70_000, 1, False),
    PosterFile("", b"x" + bytes(31), 1, 1, True),
    PosterFile("no such file"),
)


@pytest.mark.parametrize(
    ("column", "values"),
    [(PackedTexts(TEXTS), TEXTS), (PosterPaths(PATHS), PATHS), (ExaminedPosters(FILES), FILES)],
    ids=["texts", "paths", "files"],
)
def test_columns_return_the_original_values(column, values):
    assert tuple(column) == values
    assert len(column) == 5
    assert [column[i] for i in (0, 3, -1, np.int64(2))] == [values[i] for i in (0, 3, -1, 2)]
    assert column[1:4] == values[1:4]
    with pytest.raises(IndexError):
        column[5]
    part = column.take(np.array([4, 2, 1]))
    assert tuple(part) == (values[4], values[2], values[1])
    assert tuple(part.take(np.array([2, 0]))) == (values[1], values[4])
    assert tuple(part.take(np.array([], int))) == ()


def test_texts_and_paths_are_compared_as_sequences():
    assert PackedTexts(TEXTS) == TEXTS
    assert PackedTexts(TEXTS) != TEXTS[:4]
    assert PackedTexts(["ab"]) != "ab"
    assert PosterPaths(PATHS) == PosterPaths(PATHS)
    assert PosterPaths(PATHS).texts == tuple("" if path is None else str(path) for path in PATHS)


def test_different_texts_have_different_hashes():
    def digest(texts):
        key = hashlib.sha256()
        texts.add_to(key)
        return key.digest()

    packed = PackedTexts(TEXTS)
    some = [packed, PackedTexts(["alien", *TEXTS[1:]]), PackedTexts(["Alie", "n", *TEXTS[2:]])]
    some += [packed.take(np.array(rows)) for rows in ([0, 1], [1, 0])]
    assert len({digest(texts) for texts in some}) == 5
    assert digest(PackedTexts(TEXTS)) == digest(packed)


def test_a_part_cannot_be_appended_to():
    texts = PackedTexts(TEXTS)
    part = texts.take(np.array([0]))
    texts.append("new")
    assert (part, texts[5]) == (("Alien",), "new")
    with pytest.raises(TypeError, match="cannot be appended"):
        part.append("new")


def test_a_table_takes_little_more_memory_than_its_texts(tmp_path):
    n, overview = 2_000, "words " * 20
    rows = "".join(f"{i},Title {i},19{i % 90 + 10},{overview}{i},Drama|War,posters/{i}.jpg\n" for i in range(n))
    (tmp_path / "films.csv").write_text(f"id,title,year,overview,genres,poster\n{rows}")
    read_films(tmp_path)  # warm-up: imports and caches do not count
    tracemalloc.start()
    table = read_films(tmp_path)
    kept, peak = (bytes_ / n for bytes_ in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert len(table) == n
    texts = len(f"{overview}1234Title 1234{tmp_path}/posters/1234.jpg")
    assert kept < texts + 170  # a film's id, genres, and where its texts end
    assert peak < texts + 700  # rows as dicts take 1,300
