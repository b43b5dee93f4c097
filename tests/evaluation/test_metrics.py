"""The reported metrics against scikit-learn, against plain loops, and against bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from kgenre.evaluation import genres_without_positives, multilabel_metrics

KEYS = ["loss", "precision", "recall", "f1_micro", "f1_macro", "map", "top3_hit"]


@st.composite
def films(draw):
    """Films where ties, probabilities of exactly 0, 0.5 and 1, and empty and full genres are common."""
    films, genres = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    prob = draw(
        arrays(np.float64, (films, genres), elements=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]) | st.floats(0, 1))
    )
    true = draw(arrays(np.int64, (films, genres), elements=st.integers(0, 1)))
    for genre, value in draw(st.dictionaries(st.integers(0, genres - 1), st.integers(0, 1))).items():
        true[:, genre] = value
    return true, prob


@settings(deadline=None)  # the first call of scikit-learn imports much
@given(films(), st.sampled_from([0.0, 0.25, 0.5, 0.8]))
def test_equals_scikit_learn(case, threshold):
    true, prob = case
    ours = multilabel_metrics(true, prob, threshold)
    assert list(ours) == KEYS
    assert all(type(value) is float for value in ours.values())
    predicted = (prob > threshold).astype(int)
    present = true.any(axis=0)
    pooled = {"average": "binary", "zero_division": 0}
    flat = true.ravel(), predicted.ravel()
    assert ours["precision"] == pytest.approx(sklearn_metrics.precision_score(*flat, **pooled))
    # Probabilities as two columns: scikit-learn clips at the dtype's epsilon, so clip as Keras does before.
    clipped = np.clip(prob, 1e-7, 1 - 1e-7).ravel()
    assert ours["loss"] == pytest.approx(sklearn_metrics.log_loss(flat[0], clipped, labels=[0, 1]))
    if not present.any():
        assert all(math.isnan(ours[key]) for key in KEYS[2:])
        return
    assert ours["recall"] == pytest.approx(sklearn_metrics.recall_score(*flat, **pooled))
    assert ours["f1_micro"] == pytest.approx(sklearn_metrics.f1_score(*flat, **pooled))
    per_genre = [sklearn_metrics.f1_score(true[:, g], predicted[:, g], **pooled) for g in np.flatnonzero(present)]
    assert ours["f1_macro"] == pytest.approx(np.mean(per_genre))
    ranked = [sklearn_metrics.average_precision_score(true[:, g], prob[:, g]) for g in np.flatnonzero(present)]
    assert ours["map"] == pytest.approx(np.mean(ranked))


@settings(deadline=None)
@given(films(), st.integers(1, 8))
def test_top_k_hit_equals_a_plain_loop(case, k):
    true, prob = case
    hits = []
    for film in range(len(true)):
        if true[film].any():
            best = sorted(range(true.shape[1]), key=lambda genre: (-prob[film, genre], genre))[:k]
            hits.append(any(true[film, genre] for genre in best))
    ours = multilabel_metrics(true, prob, k=k)[f"top{k}_hit"]
    assert ours == pytest.approx(np.mean(hits)) if hits else math.isnan(ours)


def test_of_equal_probabilities_the_first_genres_win():
    # As many genres as the course has: rows of up to 16 are sorted stably by any algorithm.
    prob = np.random.default_rng(0).integers(0, 3, (50, 25)) / 4
    first = [min(range(25), key=lambda genre: (-row[genre], genre)) for row in prob]
    assert multilabel_metrics(np.eye(25, dtype=int)[first], prob, k=1)["top1_hit"] == 1


def test_a_case_worked_by_hand():
    true = np.array([[1, 0, 0, 0], [1, 1, 0, 0]])
    prob = np.array([[0.9, 0.6, 0.2, 0.1], [0.4, 0.5, 0.3, 0.2]])
    ours = multilabel_metrics(true, prob, k=1)
    right = [0.9, 0.4, 0.8, 0.9, 0.4, 0.5, 0.7, 0.8]
    assert ours["loss"] == pytest.approx(-np.log(right).mean())
    # Predicted: genre 0 and 1 of film 0; 0.5 is not above 0.5.
    assert (ours["precision"], ours["recall"]) == pytest.approx((1 / 2, 1 / 3))
    assert ours["f1_micro"] == pytest.approx(2 / 5)
    assert ours["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)  # genres 2 and 3 have no film
    assert ours["map"] == pytest.approx((1 + 1 / 2) / 2)
    assert ours["top1_hit"] == 1.0


def test_a_certain_error_costs_what_keras_says():
    loss = multilabel_metrics(np.array([[1]]), np.array([[0.0]]))["loss"]
    assert loss == pytest.approx(-math.log(1e-7))


def test_a_genre_that_never_occurs_counts_in_the_loss_only():
    true, prob = np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.3], [0.4, 0.6]])
    wide = multilabel_metrics(np.pad(true, ((0, 0), (0, 1))), np.pad(prob, ((0, 0), (0, 1)), constant_values=0.1))
    narrow = multilabel_metrics(true, prob)
    assert wide["loss"] == pytest.approx((4 * narrow["loss"] - 2 * math.log(0.9)) / 6)
    assert {key: wide[key] for key in KEYS[1:]} == {key: narrow[key] for key in KEYS[1:]}


def test_bool_and_float32_are_read_alike():
    true = np.random.default_rng(0).random((20, 4)) < 0.3
    prob = np.random.default_rng(1).random((20, 4), dtype="float32")
    assert multilabel_metrics(true, prob) == multilabel_metrics(true.astype("float32"), prob.astype("float64"))


GOOD = np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("true", "prob", "message"),
    [
        (GOOD[0], np.array([[0.9, 0.1], [np.nan, 0.8]]), "NaN in 1 of 2 films, first in row 1"),
        (GOOD[0], GOOD[1][:1], r"y_true's shape \(2, 2\). Received: shape \(1, 2\)"),
        (GOOD[0], GOOD[1][:, 0], r"Received: shape \(2,\)"),
        (GOOD[0][:, 0], GOOD[1][:, 0], r"shape \(films, genres\).*Received: shape \(2,\)"),
        (GOOD[0][:0], GOOD[1][:0], r"at least one of each. Received: shape \(0, 2\)"),
        (GOOD[0] * 2, GOOD[1], "0 or 1 only. Received: 2 and 1 more"),
        (GOOD[0] * np.nan, GOOD[1], "0 or 1 only. Received: nan and 3 more"),
        (
            GOOD[0],
            np.array([[2.5, 0.1], [-3.0, 0.8]]),
            "logits need a sigmoid first. Received: values from -3 to 2.5",
        ),
    ],
)
def test_bad_arrays_are_refused(true, prob, message):
    with pytest.raises(ValueError, match=message):
        multilabel_metrics(true, prob)


@pytest.mark.parametrize("arguments", [{"threshold": 1.0}, {"threshold": -0.1}, {"threshold": math.nan}, {"k": 0}])
def test_bad_settings_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        multilabel_metrics(*GOOD, **arguments)


def test_genres_without_positives_are_named_in_order():
    true = np.array([[0, 1, 0], [0, 1, 0]])
    assert genres_without_positives(true, ["News", "Drama", "Short"]) == ["News", "Short"]
    assert genres_without_positives(true[:, 1:2], ["Drama"]) == []
    with pytest.raises(ValueError, match=r"Received: 2 names, y_true of shape \(2, 3\)"):
        genres_without_positives(true, ["News", "Drama"])
