import json

import numpy as np
import pytest

from kgenre.data import FilmDataError, FilmTable, Split, read_films, split, split_films

pytestmark = pytest.mark.backend_free


def films(n=400, seed=0, shares=(0.5, 0.4, 0.2, 0.1, 0.05, 0.02), **columns):
    rng = np.random.default_rng(seed)
    defaults = {
        "ids": tuple(f"f{i}" for i in range(n)),
        "titles": tuple(f"Title {i}" for i in range(n)),
        "years": (2000,) * n,
        "overviews": tuple(f"Overview number {i}" for i in range(n)),
        "genres": (rng.random((n, len(shares))) < shares).astype(np.uint8),
        "genre_names": tuple(f"G{g}" for g in range(len(shares))),
        "poster_paths": (None,) * n,
    }
    return FilmTable(**{**defaults, **columns})


def worst_share(table, part):
    whole = table.genres.mean(axis=0)
    used = whole > 0
    return np.abs(table.genres[part].mean(axis=0)[used] / whole[used] - 1).max()


def parts(split):
    return split.train, split.validation, split.test


def check_covers(split, n):
    assert sorted(np.concatenate(parts(split)).tolist()) == list(range(n))


def test_parts_are_disjoint_complete_and_of_the_requested_sizes():
    split = split_films(films())
    check_covers(split, 400)
    for size, expected in zip(split.sizes, (280, 40, 80), strict=True):
        assert abs(size - expected) <= 3


def test_seed_decides_the_split():
    first, again, other = (split_films(films(), seed=seed) for seed in (3, 3, 4))
    for a, b in zip(parts(first), parts(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(first.test) != set(other.test)
    large = [set(split_films(films(), seed=seed).test) for seed in (20251129153000, 20251129153000, 2**32 + 3)]
    assert large[0] == large[1] != large[2] != set(first.test)


def test_the_split_does_not_depend_on_the_order_of_rows():
    overviews = tuple(f"Overview number {i % 390}" for i in range(400))
    table = films(ids=tuple(f"f{i}" if i % 7 else f"{i}" for i in range(400)), overviews=overviews)
    rows = np.random.default_rng(1).permutation(400)
    split, other = split_films(table, seed=2), split_films(table.subset(rows), seed=2)
    for name in ("train", "validation", "test"):
        assert set(split.to_json()[name]) == set(other.to_json()[name])


def test_the_split_of_a_table_in_order_of_ids_never_changes():
    """The course's table and the sample films are in that order."""
    assert split_films(films(40)).to_json()["validation"] == ["f8", "f21", "f31", "f38"]


def test_genres_are_spread_better_than_by_chance():
    for seed in range(3):
        table = films(seed=seed)
        split = split_films(table, seed=seed)
        rng = np.random.default_rng(seed)
        for part in (split.validation, split.test):
            by_chance = [worst_share(table, rng.permutation(len(table))[: len(part)]) for _ in range(21)]
            assert worst_share(table, part) < 0.7 * np.median(by_chance)


def part_of(split, n):
    where = np.full(n, -1)
    for number, part in enumerate(parts(split)):
        where[part] = number
    return where


@pytest.mark.parametrize("same", ["overview", "title", "poster", "chain"])
def test_near_duplicates_are_in_the_same_part(tmp_path, same):
    n = 90
    group = np.arange(n) // 3  # rows 0, 1, 2 are the same film three times, and so on
    names = [f"number {g}" for g in group]
    columns = {
        "overview": {"overviews": tuple(f"{n.upper() if i % 2 else n}{'.' * (i % 3)}" for i, n in enumerate(names))},
        "title": {"titles": tuple(n.title() if i % 2 else n for i, n in enumerate(names))},
        "poster": {"poster_paths": tuple(tmp_path / f"{i}.jpg" for i in range(n))},
        "chain": {  # 0 and 1 share an overview, 1 and 2 a title
            "overviews": tuple(f"o{g}" if i % 3 < 2 else f"p{i}" for i, g in enumerate(group)),
            "titles": tuple(f"t{g}" if i % 3 > 0 else f"u{i}" for i, g in enumerate(group)),
        },
    }[same]
    if same == "poster":
        for i, g in enumerate(group):
            (tmp_path / f"{i}.jpg").write_bytes(b"poster %d" % g)
    split = split_films(films(n, **columns))
    where = part_of(split, n).reshape(-1, 3)
    assert (where == where[:, :1]).all()
    assert split.grouped == n
    assert set(where.ravel()) == {0, 1, 2}
    check_covers(split, n)


@pytest.mark.parametrize("what", ["placeholder", "few", "a series", "one film"])
def test_a_placeholder_poster_does_not_group_films(tmp_path, what):
    n, same = 200, 9 if what == "few" else 60
    for i in range(n):
        (tmp_path / f"{i}.jpg").write_bytes(b"no image" if i < same else b"poster %d" % i)
    table = films(n, poster_paths=tuple(tmp_path / f"{i}.jpg" for i in range(n)))
    if what == "a series":
        table.genres[: same // 2 + 1] = table.genres[0]
    if what == "one film":
        table = films(n, poster_paths=table.poster_paths, titles=("Heidi",) * n, years=(None,) * n)
    split = split_films(table)
    if what == "placeholder":
        assert split.grouped == 0
        assert min(np.bincount(part_of(split, n)[:same], minlength=3) / same) > 0.05
    else:
        assert split.grouped == same
        assert len(set(part_of(split, n)[:same])) == 1


@pytest.mark.parametrize("same", [2, 11, 60])
def test_films_that_share_an_overview_do_not_fill_the_test_part(same):
    table = films(100, overviews=("Plot unknown",) * same + tuple(f"Number {i}" for i in range(100 - same)))
    for seed in range(4):
        split = split_films(table, seed=seed)
        assert np.abs(np.subtract(split.sizes, (70, 10, 20))).max() <= 1
        assert same == 2 or set(range(same)) <= set(split.train)


def test_a_part_of_less_than_a_film_does_not_empty_the_others():
    assert split_films(films(60), val_fraction=0.01, test_fraction=0.2).sizes[2] >= 10


@pytest.mark.parametrize("seed", range(5))
def test_no_part_is_empty_if_most_films_share_an_overview(seed):
    split = split_films(films(20, overviews=("Plot unknown",) * 18 + ("A ship.", "A whale.")), seed=seed)
    assert split.sizes == (18, 1, 1)


@pytest.mark.parametrize("fractions", [(0.01, 0.2), (0.2, 0.01), (0.01, 0.01), (0.01, 0)])
def test_a_part_of_less_than_a_film_has_one(fractions):
    split = split_films(films(20), *fractions)
    assert [size > 0 for size in split.sizes] == [True, *(fraction > 0 for fraction in fractions)]
    check_covers(split, 20)


def test_missing_values_are_not_duplicates(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.jpg").touch()
    paths = tuple(tmp_path / f"{i}.jpg" for i in range(40))
    table = films(40, overviews=("...",) * 40, titles=("",) * 40, years=(None,) * 40, poster_paths=paths)
    assert split_films(table).grouped == 0
    remakes = films(40, titles=("Dracula",) * 40, years=tuple(range(40)))
    assert split_films(remakes).grouped == 0


@pytest.mark.parametrize("n", [10, 11, 20, 33])
@pytest.mark.parametrize("seed", range(5))
def test_tiny_sets_and_genres_of_one_film(n, seed):
    table = films(n, seed, genres=np.eye(n, 8, dtype=np.uint8), genre_names=tuple("abcdefgh"))
    split = split_films(table, seed=seed)
    check_covers(split, n)
    assert min(split.sizes) >= 1
    assert len(split.train) >= n // 2


def test_films_without_any_genre_are_split_too():
    split = split_films(films(50, genres=np.zeros((50, 3), np.uint8), genre_names=("a", "b", "c")))
    check_covers(split, 50)
    assert min(split.sizes) >= 4


def test_a_part_can_be_left_out():
    split = split_films(films(), val_fraction=0, test_fraction=0.25)
    assert len(split.validation) == 0
    assert abs(len(split.test) - 100) <= 3
    assert split_films(films(), 0, 0).sizes == (400, 0, 0)


def test_json_round_trip_over_other_films():
    table = films(60)
    split = split_films(table)
    state = json.loads(json.dumps(split.to_json()))
    order = np.random.default_rng(0).permutation(60)[:50]
    fewer = table.subset(order)
    again = Split.from_json(state, fewer.ids)
    for name in ("train", "validation", "test"):
        ids = {table.ids[i] for i in getattr(split, name)} & set(fewer.ids)
        assert {fewer.ids[i] for i in getattr(again, name)} == ids
    assert again.seed == split.seed


def test_restrict_keeps_films_in_their_part():
    table = films(60)
    split = split_films(table)
    rows = np.arange(0, 60, 2)
    some = split.restrict(rows)
    check_covers(some, 30)
    assert {some.ids[i] for i in some.test} == {table.ids[i] for i in split.test if i % 2 == 0}


def test_str_counts_near_duplicates():
    overviews = tuple("the same" if i < 4 else f"other {i}" for i in range(40))
    split = split_films(films(40, overviews=overviews))
    some = split.restrict(np.arange(30))  # they may be films that are left out: the number is of all films
    assert all("4 near-duplicates among all films read, kept in the same part" in str(each) for each in (split, some))
    assert "duplicate" not in str(split_films(films(40)))


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((-0.1, 0.2), "val_fraction=-0.1"),
        ((0.1, 1), "test_fraction=1"),
        ((float("nan"), 0.2), "val_fraction=nan"),
        ((0.5, 0.5), "val_fraction=0.5 and test_fraction=0.5"),
    ],
)
def test_error_fractions(fractions, message):
    with pytest.raises(FilmDataError, match=message):
        split_films(films(), *fractions)


def test_error_too_few_films():
    with pytest.raises(FilmDataError, match="9 films are too few"):
        split_films(films(9))


def test_real_films(real_data):
    table = read_films(real_data / "films")
    split = split_films(table)
    check_covers(split, 2500)
    assert worst_share(table, split.test) < 0.12  # by chance about 0.36
    stories = [i for i, text in enumerate(table.overviews) if text == "The story of"]
    assert len(stories) > 1
    assert len(set(part_of(split, 2500)[stories])) == 1


def test_error_films_that_all_share_a_text():
    with pytest.raises(FilmDataError, match=r"stay together, so 12 films form only 2 groups: too few for 3 parts"):
        split_films(films(12, overviews=("None yet.",) * 11 + ("A ship.",)))


def test_genres_of_a_single_film_do_not_change_the_sizes():
    split = split_films(films(150, genres=np.eye(150, dtype=np.uint8), genre_names=tuple(f"T{g}" for g in range(150))))
    assert split.sizes == (105, 15, 30)


def test_an_empty_part_gets_films_whose_genres_others_have():
    genres = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], bool)
    part_of = np.zeros(4, np.int64)
    split._fill_empty_parts(part_of, genres, np.ones(4, np.int64), np.array([0.5, 0.25, 0.25]))
    assert (part_of[0], sorted(part_of)) == (0, [0, 0, 1, 2])
