"""What follows from the numbers of a run, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.evaluation.comparison import TITLES, standing
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.numbers import Numbers
from kgenre.reports.run import Run
from kgenre.reports.run_difference import Difference, run_difference


def against_baselines(run: Run, keys: Sequence[str], numbers: Numbers) -> str:
    """Whether the run's loss is better than the baselines', and whether other test films could have said otherwise."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        base = f"test/difference/baseline_{key}/loss"
        if any(f"{base}{end}" not in run.metrics for end in ("", "/low", "/high")):
            continue
        difference = Difference(run.metrics[base], run.metrics[f"{base}/low"], run.metrics[f"{base}/high"])
        if not difference.is_clear:
            says = "cannot be told from"
        else:
            says = "beats" if difference.value < 0 else "is worse than"
        theirs = numbers.of(run, f"test/baseline_{key}/loss", ".4f")
        low, high = (numbers.of(run, f"{base}/{end}", "+.4f") for end in ("low", "high"))
        title = "the " + TITLES[key] if key == "frequency" else TITLES.get(key, key)
        groups.setdefault(says, []).append(f"{title} ({theirs}; difference {low} to {high})")
    if not groups:
        return ""
    said = " and ".join(f"{says} {', '.join(who)}" for says, who in groups.items())
    return f"{run.name} (loss {numbers.of(run, 'test/loss', '.4f')}) {said}."


def headline(runs: Sequence[Run], numbers: Numbers) -> str:
    """The verdict at the top of the page."""
    best = min(runs, key=lambda run: run.metrics["test/loss"])
    beaten = [run for run in runs if _state(run, "frequency") == "ahead"]
    if not beaten:
        who = "None of the models" if len(runs) > 1 else f"{best.name}"
        verdict = "predicts" if len(runs) > 1 else "does not predict"
        text = f"{who} {verdict} the test films better than genre frequencies that never look at a film."
    elif len(beaten) == len(runs):
        text = ("All models beat" if len(runs) > 1 else f"{best.name} beats") + " the genre frequencies."
    else:
        text = f"Of {len(runs)} models, {', '.join(run.name for run in beaten)} beat(s) the genre frequencies."
    bag = _state(best, "tfidf")
    if bag:
        words = {"ahead": "is ahead of", "level": "is level with", "behind": "is behind"}[bag]
        own, theirs = numbers.of(best, "test/loss", ".4f"), numbers.of(best, "test/baseline_tfidf/loss", ".4f")
        text += f" The best, {best.name} (loss {own}), {words} TF-IDF with logistic regression ({theirs})."
    return text


def training(run: Run, numbers: Numbers) -> str:
    """Where the curve of a run ends, and what that means."""
    curve = learning_curve(run)
    if curve is None:
        return f"{run.name}: no epoch was both trained and validated, so nothing is known of its course."
    count = numbers.say(f"{run.name}: epochs", len(curve.train), "d")
    best = numbers.say(f"{run.name}: best epoch", curve.best + 1, "d")
    loss = numbers.say(f"{run.name}: best validation loss", curve.validation[curve.best], ".4f")
    start = f"{run.name}: the lowest validation loss, {loss}, came at epoch {best} of {count}"
    if curve.state == "overfitted":
        rise = numbers.say(f"{run.name}: rise after the best epoch", 100 * curve.rise, ".1f")
        return f"{start}; then training loss fell on while validation loss rose by {rise} %: overfitting from there on."
    if curve.state == "falling":
        return f"{start}: it was still falling when training stopped."
    if curve.state == "flat":
        return f"{start}, but it hardly moved at all: little was learned."
    return f"{start}, and it stayed near that: longer training of this kind would bring little."


def better_run(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    """The best run beside each other one, on the test films that both have."""
    best = min(runs, key=lambda run: run.metrics["test/loss"])
    said = []
    for run in runs:
        if run is best:
            continue
        parts = []
        for metric, title, is_better in (("loss", "loss", -1), ("map", "mAP", 1)):
            difference, films = run_difference(best, run, metric)
            names = [f"{best.name} minus {run.name}: {metric}{end}" for end in ("", " low", " high")]
            ends = (difference.value, difference.low, difference.high)
            value, low, high = (numbers.say(n, v, "+.4f") for n, v in zip(names, ends, strict=True))
            if difference.is_clear:
                how = "better" if difference.value * is_better > 0 else "worse"
            else:
                how = "not clearly different"
            parts.append(f"{title} {value} ({low} to {high}: {how})")
        shared = numbers.say(f"{best.name} and {run.name}: common test films", films, "d")
        said.append(f"{best.name} against {run.name} on {shared} common films: {'; '.join(parts)}.")
    return said


def per_genre(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    """Which genres work, which do not, and which run is ahead where."""
    best = min(runs, key=lambda run: run.metrics["test/loss"])
    present = [g for g in best.genre_names if (best.genre(g, "support") or 0) > 0 and best.genre(g, "ap") is not None]
    films = best.metrics["test/films"]
    lift = {g: best.genre(g, "ap") / (best.genre(g, "support") / films) for g in present}
    said = []
    enough = [g for g in present if best.genre(g, "support") >= 10]
    if enough:
        top = sorted(enough, key=lambda g: -lift[g])[:3]
        low = [g for g in sorted(enough, key=lambda g: lift[g]) if lift[g] < 1.5][:4]
        shown = ", ".join(f"{g} ({_ap(best, g, numbers)} against {_chance(best, g, numbers)} by chance)" for g in top)
        said.append(f"Of genres with ten test films or more, {best.name} ranks best above chance: {shown}.")
        if low:
            named = ", ".join(f"{g} ({_ap(best, g, numbers)}; {_chance(best, g, numbers)})" for g in low)
            said.append(f"Hardly better than chance: {named}.")
    for run in runs:
        if run is best:
            continue
        ahead = [g for g in enough if (run.genre(g, "ap") or 0) > best.genre(g, "ap") + 0.05]
        if ahead:
            ahead.sort(key=lambda g: best.genre(g, "ap") - run.genre(g, "ap"))
            named = ", ".join(f"{g} ({_ap(run, g, numbers)} against {_ap(best, g, numbers)})" for g in ahead[:4])
            said.append(f"{run.name} is ahead of it for {named}.")
    rare = [g for g in present if best.genre(g, "support") < 10]
    if rare:
        said.append(f"Fewer than ten test films: {', '.join(rare)}. Their figures are mostly chance.")
    absent = [g for g in best.genre_names if g not in present]
    if absent:
        said.append(f"Without any test film, and left out of every average over genres: {', '.join(absent)}.")
    return said


def thresholds(run: Run, numbers: Numbers) -> str:
    """What the threshold of 0.5 hides, and what tuned ones change."""
    present = [g for g in run.genre_names if (run.genre(g, "support") or 0) > 0]
    found = [g for g in present if (run.genre(g, "f1") or 0) > 0]
    counts = numbers.say(f"{run.name}: genres with F1 above 0 at 0.5", len(found), "d")
    of = numbers.say(f"{run.name}: genres with test films", len(present), "d")
    text = f"{run.name}: at 0.5 it is right at least once about {counts} of {of} genres"
    text += f" ({', '.join(found)})" if 0 < len(found) <= 4 else ""
    if "test/tuned_f1_micro" not in run.metrics:
        return f"{text}. No thresholds were tuned: the checkpoint was never validated."
    tuned = [g for g in present if (run.genre(g, "tuned_f1") or 0) > 0]
    after = numbers.say(f"{run.name}: genres with F1 above 0 at tuned thresholds", len(tuned), "d")
    micro = [numbers.of(run, f"test/{p}f1_micro") for p in ("", "tuned_")]
    macro = [numbers.of(run, f"test/{p}f1_macro") for p in ("", "per_genre_tuned_")]
    overall = numbers.of(run, "test/threshold", ".2f")
    return (
        f"{text}. One threshold tuned on validation films ({overall}) takes micro-F1 from {micro[0]} to {micro[1]}; "
        f"one for each genre takes macro-F1 from {macro[0]} to {macro[1]} and reaches {after} genres."
    )


def calibration(run: Run, numbers: Numbers) -> str:
    """Whether the probabilities can be taken at their word."""
    error = numbers.of(run, "test/ece")
    known = run.baselines.get("frequency", {}).get("brier")
    text = f"{run.name}: probabilities are off by {error} on average (expected calibration error)"
    if known is not None and "test/brier" in run.metrics:
        own, base = numbers.of(run, "test/brier", ".4f"), numbers.of(run, "test/baseline_frequency/brier", ".4f")
        text += f"; Brier score {own}, genre frequencies {base}"
    return text + "."


def next_steps(runs: Sequence[Run]) -> list[str]:
    """What to try next, each for a reason that was seen."""
    steps = []
    for run in runs:
        curve = learning_curve(run)
        state = curve.state if curve else None
        reason = {
            "falling": f"{run.name}: validation loss was still falling: train longer, or with a higher rate.",
            "overfitted": f"{run.name}: it overfitted: stop early (EarlyStopping), and try more augmentation, dropout "
            "or weight decay, or fewer parameters.",
            "flat": f"{run.name}: it hardly learned: try a higher learning rate, and start the output's bias at the "
            "log-odds of the genre frequencies.",
        }.get(state)
        if reason:
            steps.append(reason)
    best = min(runs, key=lambda run: run.metrics["test/loss"])
    if _state(best, "tfidf") == "behind":
        steps.append("A bag of words is ahead: before a larger network, give it pretrained word vectors or join both.")
    ranks = best.metrics.get("test/roc_auc", 0) > 0.6
    if ranks and _state(best, "frequency") != "ahead":
        steps.append(f"{best.name} ranks films, but its probabilities are off: recalibrate, or take an earlier epoch.")
    reads = {"overview" if "lstm" in run.network or "text" in run.network else "poster" for run in runs}
    if len(reads) == 2:
        steps.append("Posters and overviews know different things: fuse the models' log-odds per genre.")
    return steps


def _state(run: Run, key: str) -> str | None:
    """Ahead of, level with or behind a baseline's loss; not ahead where the interval of the difference holds 0."""
    loss = run.baselines.get(key, {}).get("loss")
    if loss is None:
        return None
    state = standing(run.metrics["test/loss"], loss)
    low, high = (run.metrics.get(f"test/difference/baseline_{key}/loss/{end}") for end in ("low", "high"))
    if low is not None and high is not None and low <= 0 <= high:
        return "level"
    return state


def _ap(run: Run, genre: str, numbers: Numbers) -> str:
    return numbers.of(run, f"test/genre/{genre}/ap", ".2f")


def _chance(run: Run, genre: str, numbers: Numbers) -> str:
    share = run.genre(genre, "support") / run.metrics["test/films"]
    return numbers.say(f"{run.name}: share of test films with {genre}", share, ".2f")
