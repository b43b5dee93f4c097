"""Weights of a fusion: recovered from many films, shrunk towards the other genres' where there are few."""

import numpy as np
import pytest
from scipy.special import expit

from kgenre.evaluation.fusion_fit import fit_fusion

pytestmark = pytest.mark.backend_free


def films(n, weights, bias, seed=0):
    """Films whose genres follow two sources of evidence with the given weights."""
    rng = np.random.default_rng(seed)
    prior = np.full(len(bias), -1.0)
    evidence = rng.normal(0, 1.5, (2, n, len(bias)))
    logit = prior + bias + np.einsum("mg,mng->ng", weights, evidence)
    return rng.random(logit.shape) < expit(logit), evidence, prior


def test_true_weights_are_recovered():
    weights, bias = np.array([[1.0, 0.3], [0.2, 0.9]]), np.array([0.4, -0.3])
    true, evidence, prior = films(20_000, weights, bias)
    found, found_bias = fit_fusion(true, evidence, prior, expected=[1, 1])
    np.testing.assert_allclose(found, weights, atol=0.06)
    np.testing.assert_allclose(found_bias, bias, atol=0.06)


def test_a_genre_without_films_follows_the_others():
    weights = np.full((2, 4), 0.7)
    true, evidence, prior = films(400, weights, np.zeros(4))
    true[:, 3] = False
    evidence[:, :, 3] = 0
    found, bias = fit_fusion(true, evidence, prior, expected=[1, 1])
    np.testing.assert_allclose(found[:, 3], found[:, :3].mean(axis=1), atol=0.1)
    assert bias[3] < 0, "it is rarer than its prior"


def test_fit_improves_on_its_start_without_negative_weights():
    true, evidence, prior = films(300, np.array([[1.0], [-0.8]]), np.zeros(1))
    found, bias = fit_fusion(true, evidence, prior, expected=[1, 1])
    assert found[1, 0] == 0

    def loss(weights, bias):
        p = expit(prior + bias + np.einsum("mg,mng->ng", weights, evidence))
        return -np.where(true, np.log(p), np.log1p(-p)).mean()

    assert loss(found, bias) < loss(np.ones((2, 1)), np.zeros(1))


def test_overconfident_predictions_are_calibrated():
    true, evidence, prior = films(5000, np.array([[0.5, 0.5], [0.0, 0.0]]), np.zeros(2))
    found, bias = fit_fusion(true, evidence[:1], prior, expected=[1])
    assert found == pytest.approx(0.5, abs=0.06)
    assert bias == pytest.approx(0, abs=0.08)
