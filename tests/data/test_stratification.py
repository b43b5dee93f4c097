import numpy as np
import pytest

from kgenre.data.stratification import iterative_stratification

pytestmark = pytest.mark.backend_free


def some_films():
    return np.random.default_rng(0).random((60, 8)) < np.linspace(0.02, 0.5, 8)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.7, 0.1, 0.2], "000000002000200000020000002000000010200021022201100212000021"),
        ([0.5, 0.5], "011000011010010010110100100110111011100010111010010111000101"),
        ([1.0], "0" * 60),
    ],
)
def test_parts_equal_those_of_the_package_iterative_stratification(shares, expected):
    """Its release 0.1.9 divided them so: the splits of existing runs must not change."""
    genres = some_films()
    assert not genres[:, 0].any(), "a genre without films"
    assert (~genres.any(axis=1)).sum() == 6, "films without a genre"
    parts = iterative_stratification(genres, np.array(shares), np.random.RandomState(0))
    assert "".join(map(str, parts)) == expected


def test_each_part_has_its_share_of_each_genre():
    genres, shares = some_films(), np.array([0.7, 0.1, 0.2])
    for seed in range(5):
        parts = iterative_stratification(genres, shares, np.random.RandomState(seed))
        counts = np.stack([genres[parts == part].sum(axis=0) for part in range(3)])
        assert np.abs(counts - np.outer(shares, genres.sum(axis=0))).max() < 3
        assert np.abs(np.bincount(parts) - shares * 60).max() < 2


@pytest.mark.parametrize("genres", [np.zeros((0, 3), bool), np.zeros((6, 0), bool), np.zeros((6, 2), bool)])
def test_films_without_any_genre_are_divided_by_number(genres):
    parts = iterative_stratification(genres, np.array([0.5, 0.5]), np.random.RandomState(0))
    assert np.bincount(parts, minlength=2).tolist() == [len(genres) / 2] * 2
