import hashlib
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kgenre.data import FilmDataError, make_sample_films, read_films, read_posters, sample_films, split_films

pytestmark = pytest.mark.backend_free


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    first = digest(make_sample_films(tmp_path / "a", n=12, seed=1))
    assert len(first) == 13
    assert digest(make_sample_films(tmp_path / "b", n=12, seed=1)) == first
    assert digest(make_sample_films(tmp_path / "c", n=12, seed=2)) != first


def test_a_film_does_not_depend_on_the_number_of_films(tmp_path):
    few = read_films(make_sample_films(tmp_path / "few", n=5))
    many = read_films(make_sample_films(tmp_path / "many", n=20))
    assert few.overviews == many.overviews[:5]
    for a, b in zip(few.poster_paths, many.poster_paths, strict=False):
        assert a.read_bytes() == b.read_bytes()


def test_sample_films_resemble_real_ones(sample):
    table = read_films(sample)
    assert len(table) == 120
    assert not table.left_out
    counts = table.genres.sum(axis=1)
    assert set(counts) == {1, 2, 3}
    words = [len(text.split()) for text in table.overviews]
    assert 12 <= min(words) <= max(words) <= 35
    assert all(text[0].isupper() and text.endswith(".") for text in table.overviews)
    assert all(1960 <= year < 2024 for year in table.years)
    assert len(set(zip(table.titles, table.years, strict=True))) == 120
    with Image.open(table.poster_paths[0]) as poster:
        assert (poster.format, poster.size) == ("JPEG", (200, 300))


def test_a_title_that_had_a_film_in_every_year_goes_on_with_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("kgenre.data.sample.invent_title", lambda *_: "The Last Road")
    done = []
    table = read_films(make_sample_films(tmp_path / "films", 130, on_progress=lambda *counts: done.append(counts)))
    assert Counter(table.titles) == {"The Last Road": 64, "The Last Road 2": 64, "The Last Road 3": 2}
    assert len(set(zip(table.titles, table.years, strict=True))) == 130
    assert done == [(i, 130) for i in range(1, 131)]


def test_sample_films_are_cached_and_repaired(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    folder = sample_films(n=8)
    assert folder.parent == tmp_path / "cache"
    assert os.listdir(folder.parent) == [folder.name]  # no partial set next to it
    before = (folder / "films.csv").stat().st_mtime_ns
    assert sample_films(n=8) == folder
    assert (folder / "films.csv").stat().st_mtime_ns == before
    (folder / "films.csv").unlink()
    assert len(read_films(sample_films(n=8))) == 8


def test_an_interrupt_leaves_no_partial_set(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kgenre.data.sample.write_overview", fail)
    with pytest.raises(KeyboardInterrupt):
        make_sample_films(tmp_path / "films", n=3)
    assert os.listdir(tmp_path) == []


def test_errors(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(FilmDataError, match="not an empty folder"):
        make_sample_films(tmp_path / "full")
    for wrong, said in (({"n": 0}, "from 1 to 1000000. Received: 0"), ({"seed": -1}, "0 or more. Received: -1")):
        with pytest.raises(FilmDataError, match=said):
            make_sample_films(tmp_path / "none", **wrong)
    # Each fails for every user, as /root does for others than root.
    for cannot_be_entered in (tmp_path / "full" / "a" / "below a file", tmp_path / ("long" * 100)):
        with pytest.raises(FilmDataError, match="cannot be written to"):
            make_sample_films(cannot_be_entered, n=3)
        monkeypatch.setenv("KGENRE_CACHE", str(cannot_be_entered))
        with pytest.raises(FilmDataError, match="Set KGENRE_CACHE"):
            sample_films(n=3)


def test_the_set_of_a_faster_process_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path))
    exists, made = os.path.exists, []

    def too_late(path):
        found = exists(path)
        if os.path.basename(path) == "films.csv" and not made:
            made.append(make_sample_films(os.path.dirname(path), n=3))
            (made[0] / "of the other process").touch()
        return found

    monkeypatch.setattr(os.path, "exists", too_late)
    assert sample_films(n=3) == made[0]
    assert (made[0] / "of the other process").exists()


@pytest.mark.parametrize("folder", ["empty", ".", "link"])
def test_an_existing_folder_is_filled_not_replaced(tmp_path, monkeypatch, folder):
    """The working directory and the root of a disk cannot be replaced."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty" if folder == "." else tmp_path)
    before = os.stat(folder).st_ino
    make_sample_films(folder, n=2)
    assert os.stat(folder).st_ino == before
    assert sorted(os.listdir(folder)) == ["films.csv", "posters"]
    assert len(read_films(folder)) == 2


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory):
    folder = make_sample_films(tmp_path_factory.mktemp("whole") / "films")
    return read_films(folder)


def cross_entropy(genres, probabilities):
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return -np.mean(genres * np.log(p) + (1 - genres) * np.log(1 - p))


def test_genres_are_skewed(whole_set):
    shares = whole_set.genres.mean(axis=0)
    assert len(whole_set) == 600
    assert len(shares) == 10
    assert shares.max() > 0.35
    assert 0.02 < shares.min() < 0.08


def test_posters_and_overviews_predict_genres_but_not_fully(whole_set):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    split = split_films(whole_set, 0, 0.3)
    train, test, genres = split.train, split.test, whole_set.genres
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    words = vectorizer.fit([whole_set.overviews[i] for i in train]).transform(whole_set.overviews)
    pixels, left_out = read_posters(whole_set, (8, 8))
    assert not left_out
    colours = pixels.reshape(len(pixels), -1) / 255.0
    frequencies = cross_entropy(genres[test], genres[train].mean(axis=0))
    gains, guesses = {}, []
    for name, inputs, c in (("overviews", words, 10.0), ("posters", colours, 0.3)):
        model = OneVsRestClassifier(LogisticRegression(C=c, max_iter=500)).fit(inputs[train], genres[train])
        guesses.append(model.predict_proba(inputs[test]))
        gains[name] = 1 - cross_entropy(genres[test], guesses[-1]) / frequencies
    gains["both"] = 1 - cross_entropy(genres[test], np.mean(guesses, axis=0)) / frequencies
    assert 0.25 < gains["overviews"] < 0.5
    assert 0.12 < gains["posters"] < 0.4
    assert gains["both"] > max(gains["overviews"], gains["posters"])
