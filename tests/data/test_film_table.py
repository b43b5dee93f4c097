from pathlib import Path

import numpy as np
import pytest

from kgenre.data import FilmTable

pytestmark = pytest.mark.backend_free


@pytest.fixture
def table():
    return FilmTable(
        ids=("a", "b", "c"),
        titles=("A", "B", "C"),
        years=(1, None, 3),
        overviews=("x", "", "z"),
        genres=np.array([[1, 1], [0, 1], [0, 0]], np.uint8),
        genre_names=("Drama", "War"),
        poster_paths=(Path("a.jpg"), None, None),
    )


def test_repr_is_one_line(table):
    assert repr(table) == "FilmTable(3 films, 2 genres, from a table in memory)"


def test_subset_keeps_the_given_order_in_all_columns(table):
    part = table.subset(np.array([2, 0]))
    assert (len(part), part.ids, part.years, part.overviews) == (2, ("c", "a"), (3, 1), ("z", "x"))
    assert part.poster_paths == (None, Path("a.jpg"))
    assert part.genres.tolist() == [[0, 0], [1, 1]]
    assert len(table.subset([])) == 0


def test_genres_of(table):
    assert [table.genres_of(i) for i in range(3)] == [("Drama", "War"), ("War",), ()]


def test_with_genres_moves_columns_by_name(table):
    other = table.with_genres(["War", "News"])
    assert other.genre_names == ("War", "News")
    assert other.genres.tolist() == [[1, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize("change", [{"titles": ("A",)}, {"genre_names": ("Drama",)}])
def test_error_columns_of_different_lengths(table, change):
    with pytest.raises(ValueError, match="columns of equal length"):
        FilmTable(**{**vars(table), **change})
