"""Tuned thresholds: better F1 on films they were not tuned on, without overfitting rare genres."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgenre.evaluation import Thresholds, genre_metrics, multilabel_metrics, tune_thresholds

pytestmark = pytest.mark.backend_free


def calibrated_films(n, frequencies, seed=0):
    """Films with calibrated probabilities."""
    rng = np.random.default_rng(seed)
    log_odds = np.log(np.array(frequencies) / (1 - np.array(frequencies))) + 1.2 * rng.standard_normal(
        (n, len(frequencies))
    )
    prob = 1 / (1 + np.exp(-log_odds))
    return rng.random(prob.shape) < prob, prob


def test_thresholds_tuned_on_one_half_improve_the_other():
    true, prob = calibrated_films(4000, [0.3, 0.1, 0.05])
    thresholds = tune_thresholds(true[:2000], prob[:2000])
    ours = multilabel_metrics(true[2000:], prob[2000:], thresholds=thresholds)
    assert ours["tuned_f1_micro"] > ours["f1_micro"] + 0.05
    assert ours["per_genre_tuned_f1_macro"] > ours["f1_macro"] + 0.1


def test_tuned_f1_is_near_the_best_possible():
    true, prob = calibrated_films(3000, [0.3, 0.1])
    tuned = genre_metrics(true, prob, thresholds=tune_thresholds(true, prob))["tuned_f1"]
    best = np.max([genre_metrics(true, prob, threshold=t)["f1"] for t in np.linspace(0.02, 0.9, 89)], axis=0)
    assert (tuned > best - 0.03).all()


@pytest.mark.parametrize("centre", [0.5, 0.2, 1e-9])
@pytest.mark.parametrize("spread", [1.0, 0.1, 1e-3, 1e-6])
def test_nearly_equal_probabilities_are_separated(spread, centre):
    # As after one epoch: the ranking is informative, but all probabilities lie within the smoothing window.
    true, prob = calibrated_films(400, [0.4, 0.1, 0.05])
    log_odds = np.log(centre / (1 - centre)) + spread * (np.log(prob / (1 - prob)) + 1.5)
    prob = 1 / (1 + np.exp(-log_odds))
    thresholds = tune_thresholds(true, prob)

    def f1(true, prob, threshold):
        return 2 * (true & (prob > threshold)).sum() / (true.sum() + (prob > threshold).sum())

    best = max(f1(true, prob, threshold) for threshold in np.unique(prob))
    reached = f1(true, prob, thresholds.overall)
    assert reached >= f1(true, prob, 0.5)
    assert reached > best - 0.5 / np.sqrt(true.sum())
    for genre in {0, *np.flatnonzero(np.array(thresholds.per_genre) != thresholds.overall)}:  # that have their own
        column = true[:, genre], prob[:, genre]
        best = max(f1(*column, threshold) for threshold in np.unique(column[1]))
        assert f1(*column, thresholds.per_genre[genre]) > best - 0.5 / np.sqrt(column[0].sum())


def test_one_half_is_kept_where_it_is_best():
    prob = np.array([[0.52], [0.51], [0.501], [0.499], [0.498], [0.497]])
    assert multilabel_metrics(prob > 0.5, prob, thresholds=tune_thresholds(prob > 0.5, prob))["tuned_f1_micro"] == 1


def test_rare_genre_gets_the_overall_threshold():
    true, prob = calibrated_films(500, [0.3, 0.1])
    rare = np.zeros((500, 1), bool)
    rare[:9] = True
    told_apart = np.hstack([true, rare]), np.hstack([prob, np.where(rare, 0.9, 0.1)])
    thresholds = tune_thresholds(*told_apart)
    assert thresholds.per_genre[2] == thresholds.overall != thresholds.per_genre[1]
    own = tune_thresholds(*told_apart, min_positives=9)
    assert own.per_genre[2] != own.overall


def test_one_outlier_hardly_moves_the_threshold():
    # A single film far above the others would be a peak of the raw F1 curve; smoothing removes it.
    true, prob = calibrated_films(2000, [0.2], seed=1)
    usual = tune_thresholds(true, prob).overall
    prob[np.flatnonzero(true[:, 0])[0]] = 0.999
    assert tune_thresholds(true, prob).overall == pytest.approx(usual, abs=0.03)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 4))
def test_thresholds_are_between_0_and_1(seed, films, genres):
    rng = np.random.default_rng(seed)
    thresholds = tune_thresholds(rng.random((films, genres)) < 0.3, rng.choice([0.0, 0.2, 1.0], (films, genres)))
    assert 0 < thresholds.overall < 1
    assert len(thresholds.per_genre) == genres
    assert all(0 < value < 1 for value in thresholds.per_genre)


def test_one_half_if_all_labels_are_equal():
    assert tune_thresholds(np.zeros((4, 2)), np.full((4, 2), 0.3)).overall == 0.5
    assert tune_thresholds(np.ones((4, 2)), np.zeros((4, 2))).overall == 0.5


def test_json_round_trip_with_genres_in_another_order():
    thresholds = Thresholds(0.25, (0.3, 0.1))
    state = json.loads(json.dumps(thresholds.to_json(["Drama", "War"])))
    assert Thresholds.from_json(state, ["Drama", "War"]) == thresholds
    assert Thresholds.from_json(state, ["War", "New", "Drama"]) == Thresholds(0.25, (0.1, 0.25, 0.3))
    older = state | {"fallback": ["War"]}
    assert Thresholds.from_json(older, ["Drama", "War"]) == thresholds


def test_nan_is_refused():
    with pytest.raises(ValueError, match="of 1 of 1 films are NaN"):
        tune_thresholds(np.array([[1]]), np.array([[np.nan]]))


def test_uninformative_ranking_does_not_predict_everything():
    rng = np.random.default_rng(0)
    true, prob = rng.random((300, 2)) < [0.4, 0.06], np.clip([0.4, 0.06] + 0.02 * rng.standard_normal((300, 2)), 0, 1)
    thresholds = tune_thresholds(true, prob)
    assert thresholds.per_genre == (thresholds.overall,) * 2
    assert multilabel_metrics(true, prob, thresholds=thresholds)["per_genre_tuned_precision"] > 0.3
