"""Bootstrap intervals: as wide as theory says, paired between models."""

import numpy as np
import pytest

from kgenre.evaluation import bootstrap_metrics, intervals, multilabel_metrics
from kgenre.evaluation.bootstrap import drawn_counts, interval, small_sample_warning
from kgenre.evaluation.evaluation import Evaluation

pytestmark = pytest.mark.backend_free


def films(n=400, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.random((n, 4)) < [0.5, 0.3, 0.1, 0.02]
    return true, np.clip(0.6 * rng.random((n, 4)) + 0.3 * true, 0, 1)


def test_interval_of_a_mean_matches_the_normal_distribution():
    true, prob = films()
    losses = -np.log(np.where(true, prob, 1 - prob)).mean(axis=1)
    low, high = intervals(bootstrap_metrics(true, prob, rounds=1000), multilabel_metrics(true, prob))["loss"]
    half = 1.96 * losses.std() / len(losses) ** 0.5
    np.testing.assert_allclose([low, high], [losses.mean() - half, losses.mean() + half], rtol=0.01)


def test_intervals_from_few_resamples_are_wide_enough():
    values = np.random.default_rng(0).normal(size=(500, 200))
    means = drawn_counts(500) / 500 @ values
    widths = [np.ptp(interval(rounds, mean, True)) for rounds, mean in zip(means.T, values.mean(axis=0), strict=True)]
    assert 1 < np.mean(widths / (2 * 1.96 * values.std(axis=0) / 500**0.5)) < 1.03


def test_the_same_seed_draws_the_same_films_for_every_model():
    true, prob = films()
    first, second = bootstrap_metrics(true, prob, rounds=20), bootstrap_metrics(true, prob * 0.5, rounds=20)
    assert (first["map"] == second["map"]).all(), "halved probabilities rank alike: paired rounds must not differ"
    assert not np.allclose(first["map"], bootstrap_metrics(true, prob, rounds=20, seed=1)["map"])


def test_rare_genre_that_some_resamples_lack():
    true, prob = np.zeros((30, 1), bool), np.linspace(0, 1, 30)[:, None]
    true[4] = True
    rounds = bootstrap_metrics(true, prob, rounds=50)["map"]
    assert np.isnan(rounds).any()
    low, high = interval(rounds, 1 / 26)
    assert 0 < low <= high <= 1


@pytest.mark.parametrize(("count", "word"), [(1, "1 test film is"), (19, "19 test films are"), (20, "")])
def test_small_sample_warning(count, word):
    said = small_sample_warning(count, "test")
    assert said.startswith(word)
    assert bool(said) == bool(word)


def test_interval_of_an_undefined_metric_is_nan():
    assert np.isnan(interval(np.full(5, np.nan), np.nan)).all()


def test_interval_contains_the_value_despite_biased_resamples():
    rng = np.random.default_rng(0)
    true, prob = rng.random((300, 12)) < 0.03, rng.random((300, 12))  # rare genres, ranked by chance
    value, rounds = multilabel_metrics(true, prob)["map"], bootstrap_metrics(true, prob)["map"]
    assert np.mean(rounds > value) > 0.8, "the bias that is taken out"
    low, high = interval(rounds, value)
    assert low < value < high
    np.testing.assert_allclose(high - low, np.subtract(*np.quantile(rounds, [0.975, 0.025], method="weibull")))
    assert interval(np.array([0.0, 0.5, 1.0]), 0.05)[0] == 0, "no metric is negative"
    for differences in ([-0.1, 0.0, 0.1], [0.0, 0.0, 0.3]):
        assert interval(np.array(differences), -0.05, is_difference=True)[0] < 0, "a difference may be"
    assert interval(np.array([0.5, 0.9, 1.0]), 0.9)[1] == 1, "no share is above 1"
    assert interval(np.array([2.0, 3.0, 3.5]), 3.4)[1] > 3.5, "coverage is none"


def test_cached_resamples_equal_computed_ones():
    true, prob = films()
    evaluation = Evaluation(true, prob, np.arange(len(true)))
    alone = evaluation.resampled_map()  # before any resamples are cached
    rounds, half = evaluation.resampled(None), bootstrap_metrics(true, prob, pooled=False)
    assert set(rounds) - set(half) == {"ap_micro", "roc_auc_micro"}
    assert all((half[name] == rounds[name]).all() for name in half)
    assert (alone == rounds["map"]).all()
    assert evaluation.resampled(None) is rounds


def test_the_resamples_done_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr("kgenre.data.progress_line.ProgressLine.__call__", lambda line, *done: shown.append(done))
    true, prob = np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.4]])
    bootstrap_metrics(true, prob, rounds=3)
    assert shown == [(done, 6) for done in range(1, 7)], "each ranking, that of the genres and the pooled one"
