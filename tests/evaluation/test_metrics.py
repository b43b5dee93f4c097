"""The reported metrics against scikit-learn, against plain loops, and against bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from kgenre.evaluation import Thresholds, multilabel_metrics, tune_thresholds
from kgenre.evaluation.metrics import weighted_metrics

pytestmark = pytest.mark.backend_free

KEYS = ["loss", "precision", "recall", "f1_micro", "f1_macro", "f1_weighted", "f1_samples", "hamming_loss"]
KEYS += ["subset_accuracy", "map", "roc_auc", "ap_micro", "roc_auc_micro", "lrap", "coverage"]
KEYS += ["top3_hit", "top3_precision", "top3_recall", "brier", "ece"]
NEED_A_GENRE = set(KEYS) - {"loss", "precision", "hamming_loss", "subset_accuracy", "brier", "ece"}


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


@settings(deadline=None)  # scikit-learn's first call is slow: it imports much
@given(films(), st.sampled_from([0.0, 0.25, 0.5, 0.8]))
def test_equals_scikit_learn(case, threshold):
    true, prob = case
    ours = multilabel_metrics(true, prob, threshold)
    assert list(ours) == KEYS
    assert all(type(value) is float for value in ours.values())
    predicted = (prob > threshold).astype(int)
    present, has_genre = true.any(axis=0), true.any(axis=1)
    pooled = {"average": "binary", "zero_division": 0}
    flat = true.ravel(), predicted.ravel()
    assert ours["precision"] == pytest.approx(sklearn_metrics.precision_score(*flat, **pooled))
    # scikit-learn clips at the dtype's epsilon only: clip as Keras does first.
    clipped = np.clip(prob, 1e-7, 1 - 1e-7).ravel()
    assert ours["loss"] == pytest.approx(sklearn_metrics.log_loss(flat[0], clipped, labels=[0, 1]))
    assert ours["hamming_loss"] == pytest.approx(sklearn_metrics.hamming_loss(*flat))
    assert ours["subset_accuracy"] == pytest.approx((true == predicted).all(axis=1).mean())
    assert ours["brier"] == pytest.approx(((prob - true) ** 2).mean())
    if not present.any():
        assert all(math.isnan(ours[key]) for key in NEED_A_GENRE)
        return
    assert ours["recall"] == pytest.approx(sklearn_metrics.recall_score(*flat, **pooled))
    assert ours["f1_micro"] == pytest.approx(sklearn_metrics.f1_score(*flat, **pooled))
    per_genre = [sklearn_metrics.f1_score(true[:, g], predicted[:, g], **pooled) for g in np.flatnonzero(present)]
    assert ours["f1_macro"] == pytest.approx(np.mean(per_genre))
    assert ours["f1_weighted"] == pytest.approx(np.average(per_genre, weights=true.sum(axis=0)[present]))
    films = [sklearn_metrics.f1_score(true[n], predicted[n], **pooled) for n in np.flatnonzero(has_genre)]
    assert ours["f1_samples"] == pytest.approx(np.mean(films))
    ranked = [sklearn_metrics.average_precision_score(true[:, g], prob[:, g]) for g in np.flatnonzero(present)]
    assert ours["map"] == pytest.approx(np.mean(ranked))
    assert ours["ap_micro"] == pytest.approx(sklearn_metrics.average_precision_score(flat[0], prob.ravel()))
    mixed = np.flatnonzero(present & ~true.all(axis=0))
    areas = [sklearn_metrics.roc_auc_score(true[:, g], prob[:, g]) for g in mixed]
    assert ours["roc_auc"] == pytest.approx(np.mean(areas)) if areas else math.isnan(ours["roc_auc"])
    if not true.all():
        assert ours["roc_auc_micro"] == pytest.approx(sklearn_metrics.roc_auc_score(flat[0], prob.ravel()))
    if true.shape[1] > 1:  # scikit-learn does not accept one column as multi-label data
        rows = true[has_genre], prob[has_genre]
        assert ours["lrap"] == pytest.approx(sklearn_metrics.label_ranking_average_precision_score(*rows))
        assert ours["coverage"] == pytest.approx(sklearn_metrics.coverage_error(*rows))


@settings(deadline=None)
@given(films())
def test_calibration_error_equals_a_plain_loop(case):
    true, prob = case
    error = 0.0
    for low in range(15):
        chosen = [low / 15 <= p < (low + 1) / 15 or (low == 14 and p == 1) for p in prob.ravel()]
        if any(chosen):
            error += abs(prob.ravel()[chosen].mean() - true.ravel()[chosen].mean()) * np.mean(chosen)
    assert multilabel_metrics(true, prob)["ece"] == pytest.approx(error, abs=1e-9)


@settings(deadline=None)
@given(films(), st.integers(0, 3))
def test_resample_equals_repeated_films(case, seed):
    true, prob = case
    draw = np.random.default_rng(seed).integers(len(true), size=len(true))
    thresholds = tune_thresholds(true, prob)
    weights = np.stack([np.bincount(draw, minlength=len(true)), np.ones(len(true), int)])
    ours = weighted_metrics(true, prob, weights, thresholds=thresholds)
    for row, films_of_round in enumerate((draw, np.arange(len(true)))):
        expected = multilabel_metrics(true[films_of_round], prob[films_of_round], thresholds=thresholds)
        assert {name: values[row] for name, values in ours.items()} == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_metrics_at_tuned_thresholds():
    true, prob = np.array([[1, 0], [1, 1]]), np.array([[0.3, 0.1], [0.4, 0.15]])
    thresholds = Thresholds(0.2, (0.35, 0.12))
    ours = multilabel_metrics(true, prob, thresholds=thresholds)
    assert (ours["recall"], ours["tuned_recall"], ours["per_genre_tuned_recall"]) == pytest.approx((0, 2 / 3, 2 / 3))
    assert ours["tuned_f1_macro"] == pytest.approx((1 + 0) / 2)
    assert ours["per_genre_tuned_f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    with pytest.raises(ValueError, match=r"must be for 3 genres\. Received: 2"):
        multilabel_metrics(np.eye(3), np.eye(3), thresholds=thresholds)


@settings(deadline=None)
@given(films(), st.integers(1, 8))
def test_top_k_equals_a_plain_loop(case, k):
    true, prob = case
    right, of_film = [], []
    for film in range(len(true)):
        if true[film].any():
            best = sorted(range(true.shape[1]), key=lambda genre: (-prob[film, genre], genre))[:k]
            right.append(sum(true[film, genre] for genre in best))
            of_film.append(right[-1] / true[film].sum())
    ours = multilabel_metrics(true, prob, k=k)
    if not right:
        assert math.isnan(ours[f"top{k}_hit"])
        return
    assert ours[f"top{k}_hit"] == pytest.approx(np.mean(np.array(right) > 0))
    assert ours[f"top{k}_precision"] == pytest.approx(np.mean(right) / min(k, true.shape[1]))
    assert ours[f"top{k}_recall"] == pytest.approx(np.mean(of_film))


def test_ties_are_won_by_the_first_genres():
    # 25 genres, as in the course: any algorithm sorts rows of up to 16 stably.
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


def test_loss_is_clipped_as_in_keras():
    loss = multilabel_metrics(np.array([[1]]), np.array([[0.0]]))["loss"]
    assert loss == pytest.approx(-math.log(1e-7))


def test_averages_leave_out_genres_that_never_occur():
    true, prob = np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.3], [0.4, 0.6]])
    wide = multilabel_metrics(np.pad(true, ((0, 0), (0, 1))), np.pad(prob, ((0, 0), (0, 1)), constant_values=0.1))
    narrow = multilabel_metrics(true, prob)
    assert wide["loss"] == pytest.approx((4 * narrow["loss"] - 2 * math.log(0.9)) / 6)
    averages = [key for key in KEYS if key not in ("loss", "hamming_loss", "brier", "ece", "top3_precision")]
    averages = [key for key in averages if not key.endswith("_micro") or key == "f1_micro"]
    assert {key: wide[key] for key in averages} == {key: narrow[key] for key in averages}


def test_bool_and_float32_are_read_alike():
    true = np.random.default_rng(0).random((20, 4)) < 0.3
    prob = np.random.default_rng(1).random((20, 4), dtype="float32")
    assert multilabel_metrics(true, prob) == multilabel_metrics(true.astype("float32"), prob.astype("float64"))


GOOD = np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("true", "prob", "message"),
    [
        (GOOD[0], np.array([[0.9, 0.1], [np.nan, 0.8]]), "of 1 of 2 films are NaN, first in row 1"),
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
