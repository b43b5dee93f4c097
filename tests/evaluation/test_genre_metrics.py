"""Per-genre metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from kgenre.evaluation import Thresholds, genre_metrics

pytestmark = pytest.mark.backend_free


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    true, prob = rng.random((60, 3)) < 0.3, rng.random((60, 3)).round(1)
    ours = genre_metrics(true, prob, thresholds=Thresholds(0.5, (0.2, 0.5, 0.7)))
    for prefix, thresholds in (("", 0.5), ("tuned_", [0.2, 0.5, 0.7])):
        theirs = precision_recall_fscore_support(true, prob > thresholds, zero_division=0)
        for name, values in zip(("precision", "recall", "f1"), theirs, strict=False):
            np.testing.assert_allclose(ours[prefix + name], values)
    np.testing.assert_array_equal(ours["support"], true.sum(axis=0))
    np.testing.assert_array_equal(ours["threshold"], [0.2, 0.5, 0.7])
    for genre in range(3):
        assert ours["ap"][genre] == pytest.approx(average_precision_score(true[:, genre], prob[:, genre]))
        assert ours["roc_auc"][genre] == pytest.approx(roc_auc_score(true[:, genre], prob[:, genre]))


def test_a_genre_without_films_has_no_score():
    ours = genre_metrics(np.array([[1, 0], [1, 0]]), np.full((2, 2), 0.4))
    assert np.isnan([ours[name][1] for name in ("recall", "f1", "ap", "roc_auc")]).all()
    assert np.isnan(ours["roc_auc"][0])  # a genre that all films have has no area either
    assert ours["support"].tolist() == [2, 0]
