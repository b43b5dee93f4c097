"""The sentence that compares a model with the baselines: accurate in every case."""

import json
import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest

from kgenre.evaluation import compare_with_baselines
from kgenre.evaluation.baseline_comparison import BaselineComparison
from kgenre.evaluation.evaluation import Evaluation
from kgenre.evaluation.metrics import multilabel_metrics
from kgenre.evaluation.random_order import compare_with_random_order
from kgenre.evaluation.same_top import same_top

pytestmark = pytest.mark.backend_free

FREQUENCY = {"loss": 0.2349, "map": 0.12}
BASELINES = {"frequency": FREQUENCY, "tfidf": {"loss": 0.1912, "map": 0.4}}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            {"loss": 0.2412, "map": 0.13},
            "validation loss 0.2412: worse than guessing the genre frequencies (0.2349). "
            "On the validation films there is no sign yet that it has learned anything. "
            "TF-IDF + logistic regression: 0.1912 (better than the model).",
        ),
        (
            {"loss": 0.2345, "map": 0.13},
            "validation loss 0.2345: no better than guessing the genre frequencies (0.2349). "
            "On the validation films there is no sign yet that it has learned anything. "
            "TF-IDF + logistic regression: 0.1912 (better than the model).",
        ),
        (
            {"loss": 0.2101, "map": 0.3},
            "validation loss 0.2101 beats the genre frequencies (0.2349) by 10.6 %. "
            "TF-IDF + logistic regression: 0.1912 (better than the model).",
        ),
        (
            {"loss": 0.1807, "map": 0.42},
            "validation loss 0.1807 beats the genre frequencies (0.2349) by 23.1 %. "
            "TF-IDF + logistic regression: 0.1912 (worse than the model).",
        ),
        (
            {"loss": 0.1915, "map": 0.4},
            "validation loss 0.1915 beats the genre frequencies (0.2349) by 18.5 %. "
            "TF-IDF + logistic regression: 0.1912 (about the same).",
        ),
    ],
    ids=["worse", "no better", "behind", "ahead", "level"],
)
def test_sentence(metrics, said):
    assert compare_with_baselines(metrics, BASELINES) == said


def test_overfitted_model_is_credited_with_its_ranking():
    said = compare_with_baselines({"loss": 0.26, "map": 0.35}, {"frequency": FREQUENCY}, stage="test")
    assert said.startswith(
        "test loss 0.2600: worse than guessing the genre frequencies (0.2349). It ranks the test films"
    )
    assert "mAP 0.350 against 0.120" in said
    assert "no sign yet" not in said


@pytest.mark.parametrize(
    ("falling", "advice"), [(True, "train longer"), (False, "lower the learning rate"), (None, "shows whether")]
)
def test_the_advice_depends_on_the_curve(falling, advice):
    said = compare_with_baselines({"loss": 0.26, "map": 0.35}, {"frequency": FREQUENCY}, falling=falling)
    assert advice in said.partition("its probabilities are off; ")[2]
    nothing = compare_with_baselines({"loss": 0.26, "map": 0.12}, {"frequency": FREQUENCY}, falling=falling)
    assert ("train longer" in nothing) == (falling is True)


def test_sentence_with_the_map_of_random_order():
    chance = {"loss": 0.26, "map": 0.2}
    assert "no sign yet" in compare_with_baselines(chance, {"frequency": FREQUENCY}, chance=(0.13, False))
    said = compare_with_baselines(chance, {"frequency": FREQUENCY}, chance=(0.13, True))
    assert said.endswith(
        "(mAP 0.200 against 0.130 in random order): it has learned something, but its probabilities are off; "
        + ("the validation loss curve of several epochs shows whether training was too short or too long.")
    )
    level = compare_with_baselines(chance | {"loss": 0.2349}, {"frequency": FREQUENCY}, chance=(0.13, True))
    assert level.endswith("it has learned something, although its loss does not show it.")


def test_compare_with_random_order():
    rng = np.random.default_rng(0)
    true = rng.random((300, 5)) < 0.2
    noise, rows = rng.random(true.shape), np.arange(300)
    order, beaten = compare_with_random_order(Evaluation(true, noise, rows))
    assert order == pytest.approx(multilabel_metrics(true, noise)["map"], abs=0.03)
    assert not beaten
    assert compare_with_random_order(Evaluation(true, (noise + 0.3 * true) / 2, rows))[1]


def test_same_top_genres_for_most_films_are_reported():
    names = ("Action", "Comedy", "Drama", "Horror", "Romance", "War")
    prob = np.tile([0.2, 0.4, 0.5, 0.1, 0.1, 0.0], (50, 1))
    prob[:25, :3] = [0.5, 0.4, 0.3]  # in another order
    prob[:4, 5] = 1
    said = "It ranks Drama, Comedy and Action first for 46 of 50 films: it hardly distinguishes between films."
    assert str(same_top(prob, names)) == said
    prob[:6, 5] = 1
    assert same_top(prob, names) is None
    assert same_top(prob[:, :5], names[:5]) is None, "three of five are soon the same"
    assert same_top(np.tile(prob[:1], (9, 1)), names) is None, "of a film or two nothing follows"
    assert same_top(np.tile(prob[:1], (10, 1)), names) is not None
    assert "for 5,200 of 5,200 films" in str(same_top(np.tile(prob[10], (5200, 1)), names))


@pytest.mark.parametrize(
    ("loss", "differences", "said"),
    [
        (
            0.2335,
            {"frequency": (-0.005, 0.002)},
            "is not significantly better than the genre frequencies (0.2349): 0.6 %",
        ),
        (0.2335, {"frequency": (-0.003, -0.001)}, "beats the genre frequencies (0.2349) by 0.6 %. TF-IDF"),
        (0.2335, None, "beats the genre frequencies (0.2349) by 0.6 %, which may be chance."),
        (0.2300, None, "beats the genre frequencies (0.2349) by 2.1 %. TF-IDF"),
        (0.2345, {"frequency": (-0.0006, -0.0002)}, "beats the genre frequencies (0.2349) by 0.2 %. TF-IDF"),
        (
            0.23485,
            {"frequency": (-0.0001, -0.00002)},
            "beats the genre frequencies (0.2349) by less than 0.1 %. TF-IDF",
        ),
        (0.2400, {"frequency": (-0.001, 0.011)}, "no better than guessing the genre frequencies"),
        (0.2352, {"frequency": (0.0001, 0.0004)}, "worse than guessing the genre frequencies"),
        (0.1900, {"frequency": (-0.1, -0.01), "tfidf": (-0.004, 0.002)}, "0.1912 (about the same)."),
        (0.1900, {"frequency": (math.nan, math.nan), "tfidf": (0.001, 0.002)}, "0.1912 (better than the model)."),
    ],
)
def test_the_interval_of_the_difference_decides(loss, differences, said):
    assert said in compare_with_baselines({"loss": loss, "map": 0.3}, BASELINES, "test", differences)


@pytest.mark.parametrize("ranking", [{}, {"map": math.nan}, {"map": 0.2}])
def test_ranking_at_chance_level_is_no_sign_of_learning(ranking):
    said = compare_with_baselines({"loss": 0.26} | ranking, {"frequency": FREQUENCY})
    assert said.endswith("On the validation films there is no sign yet that it has learned anything.")


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_diverged_model_is_reported_as_such(loss):
    said = compare_with_baselines({"loss": loss}, BASELINES)
    assert said.startswith(
        f"validation loss {loss}, compared with the genre frequencies (0.2349): the training has diverged"
    )
    assert "learned" not in said


def test_custom_baseline_keeps_its_name():
    said = compare_with_baselines({"loss": 0.2}, BASELINES | {"last year": {"loss": 0.21}})
    assert said.endswith("last year: 0.2100 (worse than the model).")
    assert "\n" not in said


def test_missing_metrics_are_named():
    with pytest.raises(ValueError, match=r"baseline 'frequency'. Received: tfidf"):
        compare_with_baselines({"loss": 0.2}, {"tfidf": {"loss": 0.2}})
    with pytest.raises(ValueError, match=r"metrics must hold 'loss'. Received: map"):
        compare_with_baselines({"map": 0.2}, BASELINES)
    with pytest.raises(ValueError, match=r"frequency must hold 'loss'. Received: nothing"):
        compare_with_baselines({"loss": 0.2}, {"frequency": {}})


@pytest.mark.parametrize(
    ("losses", "schedule", "words"),
    [
        ((0.7, 0.5, 0.4), "constant", "train longer"),
        (
            (0.7, 0.5, 0.4),
            "cosine",
            "the validation loss curve of several epochs shows",
        ),  # the rate's decay flattens it
        ((0.5, 0.26, 0.3), "constant", "longer training made them worse"),
        ((0.4,), "constant", "the validation loss curve of several epochs shows"),
    ],
)
def test_advice_after_a_fit_uses_its_curve(losses, schedule, words, caplog):
    module = SimpleNamespace(hparams=SimpleNamespace(schedule=schedule))
    trainer = SimpleNamespace(
        stage="fit",
        sanity_checking=False,
        checkpoint_callbacks=[
            SimpleNamespace(monitor=None, best_model_score=None),
            SimpleNamespace(monitor="val/loss", best_model_score=min(losses)),
        ],
    )
    comparison = BaselineComparison()
    comparison._metrics = {"val": {"frequency": FREQUENCY}}
    for loss in losses:
        trainer.callback_metrics = {"val/loss": loss, "val/map": 0.35}
        comparison.on_validation_end(trainer, module)
    with caplog.at_level(logging.INFO, "kgenre"):
        comparison.on_fit_end(trainer, module)
    assert f"best validation loss {min(losses):.4f}: worse than" in caplog.text
    assert words in caplog.text


def test_without_a_checkpoint_chosen_by_its_loss_the_last_validation_is_compared(caplog):
    comparison, fit = BaselineComparison(), Fit()
    comparison._metrics = {"val": {"frequency": FREQUENCY}}
    fit.monitor = "val/map"
    for loss in (0.26, 0.3):
        fit.validate(comparison, loss, 0.3)
    with caplog.at_level(logging.INFO, "kgenre"):
        comparison.on_fit_end(fit, fit)
    assert caplog.text.count("validation loss 0.") == caplog.text.count("last validation loss 0.3000: worse than") == 1


class Fit:
    """The trainer and the module of a fit, with validations of the given losses; its films are ranked at random."""

    def __init__(self, resumed=False):
        self.resumed, self.stage, self.sanity_checking, self.datamodule = resumed, "fit", False, None
        self.hparams = SimpleNamespace(schedule="constant")
        self.losses = []
        rng = np.random.default_rng(0)
        self.true, self.rows = rng.random((300, 5)) < 0.2, np.arange(300)
        self.monitor = "val/loss"

    @property
    def checkpoint_callbacks(self):
        return [SimpleNamespace(monitor=self.monitor, best_model_score=min(self.losses))]

    def validate(self, comparison, loss, skill):
        self.losses.append(loss)
        prob = (np.random.default_rng(1).random(self.true.shape) + skill * self.true) / (1 + skill)
        self.evaluation = Evaluation(self.true, prob, self.rows)
        ranking = multilabel_metrics(self.true, prob)["map"]
        self.callback_metrics = {"val/loss": loss, "val/map": ranking, "train/loss": 0.5 - len(self.losses) / 10}
        comparison.on_validation_end(self, self)


def test_a_resumed_fit_ends_with_the_same_line(caplog):
    """The best validation, which ranks better than chance, and the rise since then were before the checkpoint."""
    comparison, whole = BaselineComparison(), Fit()
    comparison._metrics = {"val": {"frequency": FREQUENCY}}
    validations = [(0.31, 0.0), (0.26, 0.3), (math.nan, 0.0), (0.29, 0.1), (0.3, 0.0)]
    for validation in validations[:4]:
        whole.validate(comparison, *validation)
    saved = json.dumps(comparison.state_dict(), allow_nan=False)
    resumed, rest = BaselineComparison(), Fit(resumed=True)
    resumed._metrics, rest.losses = comparison._metrics, list(whole.losses)
    resumed.load_state_dict(json.loads(saved))
    resumed.on_fit_start(rest, rest)
    lines = []
    for callback, fit in ((comparison, whole), (resumed, rest)):
        fit.losses = [loss for loss in fit.losses if not math.isnan(loss)]
        fit.validate(callback, *validations[4])
        with caplog.at_level(logging.INFO, "kgenre"):
            callback.on_fit_end(fit, fit)
        lines.append(caplog.messages[-1])
    assert "best validation loss 0.2600: worse than" in lines[0]
    assert "in random order): it has learned something" in lines[0]
    assert lines[1] == lines[0]


def test_a_fit_resumed_from_a_checkpoint_without_its_curve_says_nothing_about_another_validation(caplog):
    comparison, fit = BaselineComparison(), Fit(resumed=True)
    comparison.load_state_dict({})
    comparison._metrics, fit.losses = {"val": {"frequency": FREQUENCY}}, [0.26]
    comparison.on_fit_start(fit, fit)
    fit.validate(comparison, 0.3, 0.3)
    with caplog.at_level(logging.INFO, "kgenre"):
        comparison.on_fit_end(fit, fit)
    assert "best validation loss 0.2600: worse than" in caplog.text
    assert "mAP" not in caplog.text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("step,train/loss,val/loss,test/loss\n1,,0.7,\n2,0.6,0.5,\n3,0.5,0.4,0.26\n", "train longer"),
        ("step,train/loss,val/loss\n1,0.5,0.5\n2,0.4,0.26\n3,0.1,0.3\n", "longer training made them worse"),
        ("step;train/loss;val/loss\n1;0.5;0.5\n", "the validation loss curve of several epochs shows"),
        (None, "the validation loss curve of several epochs shows"),
    ],
)
def test_advice_after_a_test_uses_the_curve_of_the_runs_fit(table, words, caplog, tmp_path):
    if table is not None:
        (tmp_path / "metrics.csv").write_text(table)
    module = SimpleNamespace(hparams=SimpleNamespace(schedule="constant"))
    comparison = BaselineComparison()
    comparison._metrics = {"test": {"frequency": FREQUENCY}}
    metrics = {"test/loss": 0.26, "test/map": 0.35}
    with caplog.at_level(logging.INFO, "kgenre"):
        comparison.on_test_end(SimpleNamespace(callback_metrics=metrics, run_dir=tmp_path), module)
    assert words in caplog.text
