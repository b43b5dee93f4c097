"""What the baselines predict, on invented and on real films."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from kgenre.evaluation import FrequencyBaseline, TfidfBaseline, multilabel_metrics
from kgenre.evaluation.baseline_words import baseline_words

pytestmark = pytest.mark.backend_free

HORROR, ROMANCE = [1, 0], [0, 1]
OVERVIEWS = ["a haunted house", "the ghost of the house", "a wedding in spring", "love at a wedding"] * 3
GENRES = np.array([HORROR, HORROR, ROMANCE, ROMANCE] * 3)
BOTH = pytest.mark.parametrize("baseline", [FrequencyBaseline, TfidfBaseline])


def test_frequencies_are_the_shares_of_the_training_films():
    genres = np.random.default_rng(0).random((999, 4)) < [0.5, 0.1, 0.01, 0]
    predicted = FrequencyBaseline().fit([""] * 999, genres).predict_proba(["x", "y", "z"])
    assert predicted.shape == (3, 4)
    np.testing.assert_allclose(predicted, np.tile(genres.mean(axis=0), (3, 1)), atol=0.5 / 1000)
    np.testing.assert_array_equal(predicted[0], predicted[2])
    assert predicted[0, 3] == pytest.approx(0.0005)  # a genre never seen is unlikely, not impossible


def test_tfidf_learns_which_words_mean_which_genre():
    predicted = TfidfBaseline().fit(OVERVIEWS, GENRES).predict_proba(["the haunted ghost", "a wedding of love", ""])
    assert predicted.shape == (3, 2)
    assert predicted[0, 0] > 0.7 > 0.3 > predicted[0, 1]
    assert predicted[1, 1] > 0.7 > 0.3 > predicted[1, 0]
    np.testing.assert_allclose(predicted[2], 0.5, atol=0.1)  # no words: the frequencies


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A ship's crew, ÉTÉ_2 l’été", ["ship", "crew", "été_2", "été"]),  # split as by scikit-learn's default pattern
        ("युद्ध में", ["युद्ध", "में"]),
        ("NASA的飞船。", ["nasa", "的", "飞", "船", "的飞", "飞船"]),
    ],
)
def test_words_of_all_scripts(text, words):
    assert baseline_words(text) == words


def test_tfidf_learns_from_chinese():
    films = ["鬼魂在闹鬼的房子里", "老房子里的鬼魂", "一场春天的婚礼", "婚礼上的爱情"] * 3
    predicted = TfidfBaseline().fit(films, GENRES).predict_proba(["鬼魂回来了", "他们的婚礼"])
    assert predicted[0, 0] > 0.6 > 0.4 > predicted[1, 0]


def test_tfidf_is_deterministic():
    fits = [TfidfBaseline().fit(OVERVIEWS, GENRES).predict_proba(OVERVIEWS) for _ in range(2)]
    np.testing.assert_array_equal(*fits)


def test_ngram_range_adds_word_order():
    films = ["dog bites man", "man bites dog"] * 4
    genres = np.array([HORROR, ROMANCE] * 4)
    words = TfidfBaseline().fit(films, genres).predict_proba(films[:2])
    pairs = TfidfBaseline(ngram_range=(1, 2)).fit(films, genres).predict_proba(films[:2])
    np.testing.assert_allclose(words, 0.5, atol=1e-3)
    assert pairs[0, 0] > 0.6 > 0.4 > pairs[1, 0]


def test_tfidf_predicts_the_frequency_of_constant_genres():
    genres = np.column_stack([GENRES, np.ones(12, int), np.zeros(12, int)])
    predicted = TfidfBaseline().fit(OVERVIEWS, genres).predict_proba(["a haunted wedding"])
    frequencies = FrequencyBaseline().fit(OVERVIEWS, genres).predict_proba([""])
    np.testing.assert_array_equal(predicted[:, 2:], frequencies[:, 2:])
    np.testing.assert_allclose(predicted[:, 2:], [[12.5 / 13, 0.5 / 13]])


@pytest.mark.parametrize("nothing", ["", "?!", "a I"])  # one-letter words are not features
def test_tfidf_without_words_predicts_the_frequencies(nothing):
    baseline = TfidfBaseline().fit([nothing] * 12, GENRES)
    frequencies = FrequencyBaseline().fit([nothing] * 12, GENRES)
    np.testing.assert_array_equal(baseline.predict_proba(["a ghost"]), frequencies.predict_proba(["a ghost"]))


@BOTH
def test_predicting_no_films_returns_no_rows(baseline):
    assert baseline().fit(OVERVIEWS, GENRES).predict_proba([]).shape == (0, 2)


@BOTH
def test_refitting_discards_the_previous_fit(baseline):
    model = baseline().fit(OVERVIEWS, GENRES)
    model.fit(["one film"], np.array([[1, 0, 0]]))
    np.testing.assert_allclose(model.predict_proba(["one film"]), [[0.75, 0.25, 0.25]])


@BOTH
@pytest.mark.parametrize(
    ("overviews", "genres", "message"),
    [
        (OVERVIEWS[:3], GENRES, r"Received: 3 films, genres of shape \(12, 2\)"),
        ([], GENRES[:0], r"at least one film.*Received: 0 films"),
        (OVERVIEWS, GENRES[:, 0], r"genres of shape \(12,\)"),
        (OVERVIEWS, GENRES * 0.5, r"values \[0.0, 0.5\]"),
    ],
)
def test_bad_training_films_are_refused(baseline, overviews, genres, message):
    with pytest.raises(ValueError, match=message):
        baseline().fit(overviews, genres)


def test_overview_that_is_not_text_is_named():
    with pytest.raises(ValueError, match="Received: None in row 1"):
        TfidfBaseline().fit(["a ghost", None], GENRES[:2])
    with pytest.raises(ValueError, match="Received: nan in row 0"):
        TfidfBaseline().fit(OVERVIEWS, GENRES).predict_proba([np.nan])


@pytest.fixture(scope="module")
def real_films():
    folder = os.environ.get("KGENRE_FILMS")
    if not folder:
        pytest.skip("KGENRE_FILMS is not set: it names the folder that holds films/films.csv")
    with (Path(folder) / "films" / "films.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({genre for row in rows for genre in row["genres"].split("|")})
    genres = np.array([[name in row["genres"].split("|") for name in names] for row in rows])
    return [row["overview"] for row in rows], genres


def test_tfidf_beats_frequencies_on_real_films(real_films):
    overviews, genres = real_films
    order = np.random.default_rng(0).permutation(len(genres))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    metrics = {}
    for baseline in (FrequencyBaseline(), TfidfBaseline()):
        baseline.fit([overviews[i] for i in train], genres[train])
        probabilities = baseline.predict_proba([overviews[i] for i in test])
        metrics[baseline.key] = multilabel_metrics(genres[test], probabilities)
    frequency, tfidf = metrics["frequency"], metrics["tfidf"]
    assert tfidf["loss"] < 0.88 * frequency["loss"]
    assert tfidf["map"] > 2.5 * frequency["map"]
    assert tfidf["f1_micro"] > frequency["f1_micro"] + 0.08
    assert frequency["top3_hit"] > 0.8  # by always predicting Drama, Comedy, Action
