"""Bootstrap intervals: as wide as theory says, paired between models."""

import numpy as np

from kgenre.evaluation import bootstrap_metrics, intervals
from kgenre.evaluation.bootstrap import interval


def films(n=400, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.random((n, 4)) < [0.5, 0.3, 0.1, 0.02]
    return true, np.clip(0.6 * rng.random((n, 4)) + 0.3 * true, 0, 1)


def test_the_interval_of_a_mean_is_what_the_normal_distribution_gives():
    true, prob = films()
    losses = -np.log(np.where(true, prob, 1 - prob)).mean(axis=1)
    low, high = intervals(bootstrap_metrics(true, prob, rounds=1000))["loss"]
    half = 1.96 * losses.std() / len(losses) ** 0.5
    np.testing.assert_allclose([low, high], [losses.mean() - half, losses.mean() + half], rtol=0.01)


def test_the_same_seed_draws_the_same_films_for_every_model():
    true, prob = films()
    first, second = bootstrap_metrics(true, prob, rounds=20), bootstrap_metrics(true, prob * 0.5, rounds=20)
    assert (first["map"] == second["map"]).all(), "halved probabilities rank alike: paired rounds must not differ"
    assert not np.allclose(first["map"], bootstrap_metrics(true, prob, rounds=20, seed=1)["map"])


def test_a_rare_genre_that_some_resamples_lack():
    true, prob = np.zeros((30, 1), bool), np.linspace(0, 1, 30)[:, None]
    true[4] = True
    rounds = bootstrap_metrics(true, prob, rounds=50)["map"]
    assert np.isnan(rounds).any()
    low, high = interval(rounds)
    assert 0 < low <= high <= 1


def test_undefined_everywhere_is_nan():
    assert np.isnan(interval(np.full(5, np.nan))).all()
