"""One line on how a model's loss compares with the baselines'."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kgenre.evaluation.baselines import BASELINES

TITLES = {baseline.key: baseline.title for baseline in BASELINES}
# Losses within 0.5 % of each other count as level: the frequencies' own loss varies by 0.9 % from split to split. On
# 500 films the 95 % interval of such small differences extends half a percent to each side, on fewer films further.
_LEVEL = 0.005
_MAYBE_CHANCE = 0.01
# A ranking counts as learned above twice the frequencies' mAP. Average precision flatters chance if genres have few
# films: random scores reached 1.96 times that mAP on 60 films (the highest of 300 draws), 1.5 times on 250.
_RANKS = 2.0
# The description of a baseline, by the model's standing.
_BASELINE = {"better": "worse than the model", "level": "about the same", "worse": "better than the model"}


def compare_with_baselines(
    metrics: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    stage: str = "validation",
    differences: Mapping[str, tuple[float, float]] | None = None,
    falling: bool | None = None,
    chance: tuple[float, bool] | None = None,
) -> str:
    """Describe in one line how a model's loss compares with the genre frequencies and the other baselines.

    Args:
        metrics: the model's, as returned by `multilabel_metrics`; ``loss`` is required, ``map`` optional.
        baselines: baseline key ("frequency", "tfidf", or a name of your own) -> its metrics on the same films;
            "frequency" is required.
        stage: which films these are, "validation" or "test".
        differences: baseline key -> the interval (low, high) of the model's loss minus the baseline's, on the same
            films: if it contains zero, the two cannot be told apart.
        falling: whether the validation loss was still falling when training ended; None if unknown.
        chance: the mAP of the same films in random order, and whether the model's is significantly higher. None: the
            frequencies' mAP, and whether the model's is more than twice as high.

    Returns:
        A few short sentences on one line.

    Raises:
        ValueError: no baseline "frequency", or a loss is missing.

    Example:
        >>> baselines = {"frequency": {"loss": 0.24}, "svm": {"loss": 0.19}}
        >>> compare_with_baselines({"loss": 0.21}, baselines, "test")
        'test loss 0.2100 beats the genre frequencies (0.2400) by 12.5 %. svm: 0.1900 (better than the model).'
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
        return f"{stage} loss {loss}, compared with {guess}: the training has diverged; try a lower learning rate."
    gain = 1 - loss / frequency["loss"]
    differences = differences or {}
    how = standing(loss, frequency["loss"], differences.get("frequency"))
    own, level = metrics.get("map", math.nan), frequency.get("map", math.nan)
    order, beaten = chance or (level, own > _RANKS * level)
    # The table of baselines shows the frequencies' mAP, which is lower than that of films in random order.
    ranking = f"mAP {own:.3f} against {order:.3f}{' in random order' if chance else ''}"
    meaning = verdict(how, ranking if beaten else "", stage.split()[-1], falling)
    if how == "better":
        unsure = ", which may be chance" if gain < _MAYBE_CHANCE and "frequency" not in differences else ""
        percent = f"{100 * gain:.1f}" if gain >= 0.001 else "less than 0.1"
        line = f"{stage} loss {loss:.4f} beats {guess} by {percent} %{unsure}."
    elif gain > _LEVEL:
        line = f"{stage} loss {loss:.4f} is not significantly better than {guess}: {100 * gain:.1f} % lower."
        line += f" {meaning}"
    else:
        than = "worse" if how == "worse" else "no better"
        line = f"{stage} loss {loss:.4f}: {than} than guessing {guess}. {meaning}"
    others = [
        f"{TITLES.get(key, key)}: {numbers['loss']:.4f} "
        f"({_BASELINE[standing(loss, numbers['loss'], differences.get(key))]})."
        for key, numbers in baselines.items()
        if key != "frequency"
    ]
    return " ".join([line, *others])


def verdict(how: str, ranking: str, films: str, falling: bool | None = None) -> str:
    """Explain a loss that does not beat the frequencies: nothing learned, bad probabilities, or training too short.

    Args:
        how: the loss's `standing` against the frequencies', "level" or "worse".
        ranking: the model's mAP and chance's, as "mAP 0.350 against 0.120"; "" if the difference may be chance.
        films: which films these are, "validation" or "test": the sentence names them, as the two may disagree.
        falling: as in `compare_with_baselines`.
    """
    longer = "its loss was still falling when training ended: train longer"
    if not ranking:
        nothing = f"On the {films} films there is no sign yet that it has learned anything."
        return nothing + (f" {longer.capitalize()}." if falling else "")
    start = f"It ranks the {films} films better than chance ({ranking}): it has learned something,"
    if how == "level":
        return f"{start} although its loss does not show it{f'; {longer}' if falling else ''}."
    advice = {
        True: longer,
        False: "longer training made them worse: lower the learning rate, or calibrate them with kgenre fuse RUN",
        None: "the validation loss curve of several epochs shows whether training was too short or too long",
    }
    return f"{start} but its probabilities are off; {advice[falling]}."


def standing(loss: float, other: float, difference: tuple[float, float] | None = None) -> str:
    """Return whether a model's loss is "better", "level" or "worse" than a baseline's: by the interval, if known."""
    if difference is not None and not any(map(math.isnan, difference)):
        low, high = difference
        return "better" if high < 0 else "worse" if low > 0 else "level"
    if abs(1 - loss / other) <= _LEVEL:
        return "level"
    return "better" if loss < other else "worse"
