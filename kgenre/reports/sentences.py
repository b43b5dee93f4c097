"""The report's text: sentences derived from a run's metrics."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.evaluation.baselines import FrequencyBaseline
from kgenre.quoted_path import quoted_path
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.numbers import Numbers, counted
from kgenre.reports.options import learning_rate, rate_ran_out, special_loss
from kgenre.reports.run import Run, best_of
from kgenre.reports.run_difference import baseline_difference
from kgenre.reports.tested_checkpoint import chosen_on_validation
from kgenre.reports.verdicts import listed, loss_verdict, probabilities_are_off

_CALIBRATE = "kgenre fuse RUN calibrates them on the validation films"
# Against overfitting: the regularised config to suggest for each input, and the networks that are regularised already.
_REGULARISED = {"poster": "poster_resnet", "overview": "overview_lstm_pooled"}
_ALREADY_REGULARISED = {*_REGULARISED.values(), "poster_resnet_colours", "overview_lstm_words"}


def data(runs: Sequence[Run], numbers: Numbers) -> str:
    """Describe the films, the split and the imbalance of the genres."""
    run = best_of(runs)
    parts = ("data/train_films", "training"), (run.validated_films, "validation"), ("test/films", "test")
    films = [counted(numbers.of(run, metric), f"{part} film") for metric, part in parts]
    present = run.present_genres
    total = sum(run.support(g) for g in present)
    mean = numbers.about(run, "genres per test film", total / run.metrics["test/films"], ".1f")
    chosen = f", on which {what}," if (what := chosen_on_validation(runs)) else ""
    tested = f"{films[2]}, used for neither" if run.folder == run.trained_in else f"{films[2]} of other data"
    text = f"{films[0]}, {films[1]}{chosen} and {tested}. A test film has {mean} genres on average."
    if len(present) > 4:
        order = sorted(present, key=lambda g: -run.support(g))
        common = " and ".join(f"{g} ({_percent(run, g, numbers)} %)" for g in order[:2])
        half = order[len(order) // 2 :]
        share = 100 * sum(run.support(g) for g in half) / total
        rare = numbers.about(run, "percentage of labels that the rarer half of genres has", share, ".0f")
        count = numbers.about(run, "rarer half of genres", len(half), "d")
        text += (
            f" Genres are imbalanced: the most frequent are {common}; the rarer half, {count} of {len(present)}, makes "
            f"up {rare} % of the labels. A model that only ever predicts frequent genres looks decent in micro "
            "averages; mAP and macro-F1, in which every genre counts the same, expose it."
        )
    return text


def tested_on(runs: Sequence[Run], numbers: Numbers) -> str:
    """Return a notice that the runs were tested on different films, as when posters or overviews are missing."""
    counts = listed([f"{run.name} on {numbers.of(run, 'test/films')}" for run in runs])
    return (
        f"Not all models were tested on the same films: {counts}. To compare two of them, use the table of "
        "differences, which is based on the films that both were tested on, not the other tables."
    )


def training(run: Run, numbers: Numbers) -> str:
    """Describe how a run's learning curve ends, and what that means."""
    curve = learning_curve(run)
    if curve is None:
        return f"{run.name}: no epoch was both trained and validated, so it has no learning curve."
    count = numbers.about(run, "epochs", curve.trained, "d")
    best = numbers.about(run, "best epoch", curve.best_epoch, "g")
    loss = numbers.about(run, "best validation loss", curve.validation[curve.best], ".4f")
    start = f"{run.name}: the lowest validation loss, {loss}, was reached at epoch {best} of {count}"
    if curve.state == "single":
        return f"{start}; a single epoch shows no trend."
    if curve.state == "overfitted":
        rise = numbers.about(run, "rise after the best epoch", 100 * curve.rise, ".1f")
        return f"{start}; then the training loss kept falling while the validation loss rose by {rise} %: overfitting."
    if curve.state == "falling" and rate_ran_out(run):
        return f"{start}, when its learning rate had decayed to 0: a schedule over more epochs may improve it."
    if curve.state == "falling":
        jumps = "" if curve.best >= len(curve.validation) - 2 else ", although it fluctuates from epoch to epoch"
        return f"{start}: it was still falling when training stopped{jumps}."
    if curve.state == "flat":
        return f"{start}, but it hardly changed: little was learned."
    return f"{start}, and it stayed near that value: training longer would change little."


def thresholds(run: Run, numbers: Numbers) -> str:
    """Describe the results at the threshold of 0.5, and what tuned thresholds change."""
    present = run.present_genres
    found = [g for g in present if (run.genre(g, "f1") or 0) > 0]
    only = "only " * (len(found) < len(present))
    what = f"{only}{listed(found)}" if found else "no genre at all"
    if len(found) > 4:
        count = numbers.about(run, "genres found at 0.5", len(found), "d")
        what = f"{count} of {numbers.about(run, 'genres with test films', len(present), 'd')} genres"
    text = f"{run.name} finds {what} at the usual threshold of 0.5"
    if "test/tuned_f1_micro" not in run.metrics:
        return f"{text}. It has no tuned thresholds: there were no validation films to tune them on."
    micro = [numbers.of(run, f"test/{p}f1_micro") for p in ("", "tuned_")]
    macro = [numbers.of(run, f"test/{p}f1_macro") for p in ("", "per_genre_tuned_")]
    overall = numbers.of(run, "test/threshold")
    text += (
        f". A single threshold tuned on the validation films ({overall}) {_change('micro-F1', *micro)}; one threshold "
        f"per genre {_change('macro-F1', *macro)}."
    )
    if micro[0] != micro[1] and run.metrics["test/tuned_f1_micro"] < run.metrics["test/f1_micro"]:
        text += " Micro-F1 is lower with it: with few validation films the best threshold is partly a matter of luck."
    chance = baseline_difference(run, FrequencyBaseline.key, "tuned_f1_micro")
    if chance is not None and chance.verdict != "better":
        guess = numbers.of(run, "test/baseline_frequency/tuned_f1_micro")
        higher = "not significantly better than" if chance.value > 0 else "no better than"
        how = higher if chance.verdict == "level" else "worse than"
        text += f" That micro-F1 is {how} what the genre frequencies reach with a tuned threshold ({guess})."
    expected, there = run.predictions.prob.sum(axis=1).mean(), run.predictions.true.sum(axis=1).mean()
    if abs(expected - there) > 0.1 * there and _more_than_chance(run):
        sums = [
            numbers.about(run, f"{name} genres per film", value, ".1f")
            for name, value in (("expected", expected), ("true", there))
        ]
        how = "high" if expected > there else "low"
        less, more = sorted((expected, there))
        much = "a little too" if more < 1.25 * less else "too" if more < 1.75 * less else "far too"
        text += f" Its probabilities are {much} {how}: they add up to {sums[0]} genres per film instead of {sums[1]}."
        if loss := special_loss(run):
            text += f" Its training loss, {loss}, shifts them on purpose: {_CALIBRATE}."
    return text


def _change(name: str, before: str, after: str) -> str:
    return f"leaves {name} at {before}" if before == after else f"changes {name} from {before} to {after}"


def _more_than_chance(run: Run) -> bool:
    """Whether the sum of the probabilities differs significantly from the true number of genres per film."""
    difference = (run.predictions.prob - run.predictions.true).sum(axis=1)
    return bool(abs(difference.mean()) > 1.96 * difference.std() / len(difference) ** 0.5)


def calibration(run: Run, numbers: Numbers) -> str:
    """Describe how well the probabilities are calibrated."""
    error = numbers.of(run, "test/ece")
    text = (
        f"{run.name}: over all pairs of film and genre, probabilities are off by {error} on average (expected "
        "calibration error)"
    )
    if "brier" in run.baselines.get("frequency", {}) and "test/brier" in run.metrics:
        own, base = numbers.of(run, "test/brier"), numbers.of(run, "test/baseline_frequency/brier")
        text += f"; Brier score {own} (genre frequencies: {base})"
    return text + "."


def next_steps(runs: Sequence[Run]) -> list[str]:
    """Suggest what to try next, each with its reason and a command."""
    steps = [step for run in runs if (step := _step_from_curve(run))]
    best = best_of(runs)
    off = [run for run in runs if probabilities_are_off(run) and run.network != "fused"]  # not fused once more
    if off:
        command = f"kgenre fuse {quoted_path(off[0].trained_in) if len(off) == 1 else 'RUN'}"
        steps.append(
            f"{listed([run.name for run in off])}: the ranking is better than the probabilities: calibrate them on "
            f"the validation films: {command}"
        )
    if loss_verdict(best, "tfidf") == "worse" and "overview" in best.reads and best.network != "overview_lstm_words":
        steps.append(
            "A bag of words is better: combine one with an LSTM whose word vectors are initialised from the training "
            "overviews: "
            "kgenre fit --config configs/overview_lstm_words.yaml --data.path FOLDER"
        )
    posters = [run for run in runs if run.reads == "poster" and run.network != "poster_resnet_colours"]
    behind = [run for run in posters if loss_verdict(run, "colours") == "worse"]
    if behind:
        steps.append(
            f"Colours and layout alone beat {listed([run.name for run in behind])}: combine them with a smaller "
            "network and augmentation: kgenre fit --config configs/poster_resnet_colours.yaml --data.path FOLDER"
        )
    together = any(run.network in ("fused", "poster_overview_fusion") for run in runs)
    if {run.reads for run in runs} >= {"poster", "overview"} and not together:
        pair = [best_of([run for run in runs if run.reads == what]).trained_in for what in ("poster", "overview")]
        steps.append(
            "Posters and overviews may carry different information: combine them, with weights per genre: kgenre fuse "
            f"{quoted_path(pair[0])} {quoted_path(pair[1])}"
        )
    return steps


def _step_from_curve(run: Run) -> str:
    """Suggest what to try next, based on a run's learning curve; "" for nothing."""
    curve = learning_curve(run)
    if curve is None:
        return ""
    config = run.trained_in / "config.yaml"
    again = f": kgenre fit --config {quoted_path(config)}" if config.exists() else ""  # none if started from Python
    epochs = f" --trainer.max_epochs {max(2 * curve.trained, 10)}{_lift_other_limits(run)}"
    if curve.state == "falling" and rate_ran_out(run):
        longer = f"{again}{epochs}" if again else "."
        why = (
            "the lowest validation loss was reached at the end of the learning-rate schedule: try one over more epochs"
        )
        return f"{run.name}: {why}{longer}"
    go_on = f"{again} --ckpt_path {quoted_path(run.trained_in)}{epochs}" if again else "."
    better = _REGULARISED.get(run.reads, "")
    smaller = f" configs/{better}.yaml has them." if better and run.network not in _ALREADY_REGULARISED else ""
    option, rate = learning_rate(run)
    higher = f"{again} {option} {3 * rate:g}" if again and isinstance(rate, float) else "."
    return {
        "single": f"{run.name}: one epoch shows little: train longer{go_on}",
        "falling": f"{run.name}: validation loss was still falling: train longer{go_on}",
        "overfitted": f"{run.name}: it overfits, so more epochs would not help: try more dropout, weight decay or "
        f"augmentation, or fewer parameters.{smaller}",
        "flat": f"{run.name}: it hardly learned: try a higher learning rate{higher}",
    }.get(curve.state, "")


def _lift_other_limits(run: Run) -> str:
    """Return the options that lift a run's other limits, so that ``max_epochs`` decides when it ends."""
    trainer = run.config.get("trainer", {})
    steps = " --trainer.max_steps -1" if trainer.get("max_steps", -1) not in (-1, None) else ""
    return steps + (" --trainer.max_time null" if trainer.get("max_time") is not None else "")


def _percent(run: Run, genre: str, numbers: Numbers) -> str:
    return numbers.about(run, f"percentage of test films with {genre}", 100 * run.share(genre), ".0f")
