"""The one plain line that says whether a model is worth anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kgenre.evaluation.baselines import FrequencyBaseline, TfidfBaseline
from kgenre.evaluation.poster_baseline import PosterBaseline
from kgenre.evaluation.top3_baseline import Top3Baseline

TITLES = {baseline.key: baseline.title for baseline in (FrequencyBaseline, Top3Baseline, TfidfBaseline, PosterBaseline)}
# Losses within 0.5 % of each other are level: the frequencies' own loss moves by 0.9 % from split to split.
LEVEL = 0.005
# A ranking counts as learned from twice the frequencies' mAP on. Average precision flatters chance where
# genres have few films: random scores reached 1.96 times on 60 films (the highest of 300 draws), 1.5 on 250.
RANKS = 2.0


def compare_with_baselines(
    metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], stage: str = "validation"
) -> str:
    """Say in one line how a model's loss stands beside the genre frequencies and the other baselines.

    Args:
        metrics: the model's, as `multilabel_metrics` gives them; ``loss`` is needed, ``map`` is used.
        baselines: key of a baseline ("frequency", "tfidf", or a name of your own) to its metrics on the same
            films; "frequency" is needed.
        stage: what the films are, "validation" or "test".

    Returns:
        A few short sentences on one line.

    Raises:
        ValueError: no baseline "frequency", or a loss is missing.

    Example:
        >>> baselines = {"frequency": {"loss": 0.24}, "svm": {"loss": 0.19}}
        >>> compare_with_baselines({"loss": 0.21}, baselines, "test")
        'test loss 0.2100 beats the genre frequencies (0.2400) by 12.5 %. svm: 0.1900 (the model is behind).'
    """
    if "frequency" not in baselines:
        given = ", ".join(baselines) or "none"
        raise ValueError(f"The comparison needs the baseline 'frequency'. Received: {given}.")
    for name, numbers in {"metrics": metrics, **baselines}.items():
        if "loss" not in numbers:
            raise ValueError(f"{name} must hold 'loss'. Received: {', '.join(numbers) or 'nothing'}.")

    loss = metrics["loss"]
    frequency = baselines["frequency"]
    guess = f"the {TITLES['frequency']} ({frequency['loss']:.4f})"
    if not math.isfinite(loss):
        return f"{stage} loss {loss} beside {guess}: the training has diverged; try a lower learning rate."
    gain = 1 - loss / frequency["loss"]
    if gain > LEVEL:
        said = f"{stage} loss {loss:.4f} beats {guess} by {100 * gain:.1f} %."
    else:
        how = "worse" if gain < -LEVEL else "no better"
        said = f"{stage} loss {loss:.4f}: {how} than guessing {guess}. {verdict(metrics, frequency)}"
    others = [
        f"{TITLES.get(key, key)}: {numbers['loss']:.4f} (the model is {standing(loss, numbers['loss'])})."
        for key, numbers in baselines.items()
        if key != "frequency"
    ]
    return " ".join([said, *others])


def verdict(metrics: Mapping[str, float], frequency: Mapping[str, float]) -> str:
    """Say what a loss that does not beat the frequencies means: nothing learned, or bad probabilities."""
    if metrics.get("map", 0) > RANKS * frequency.get("map", math.inf):
        return (
            f"It does rank films by genre (mAP {metrics['map']:.3f} against {frequency['map']:.3f}), so its "
            f"probabilities are off: over-confident, as after too many epochs, or not calibrated."
        )
    return "The model has learned nothing useful yet."


def standing(loss: float, other: float) -> str:
    """Place a model's loss beside a baseline's: ahead, level or behind."""
    if abs(1 - loss / other) <= LEVEL:
        return "level"
    return "ahead" if loss < other else "behind"
