"""The report's verdicts: sentences on which model is better, and whether the difference is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgenre.evaluation.baselines import BASELINES, FrequencyBaseline, Top3Baseline
from kgenre.evaluation.bootstrap import small_sample_warning
from kgenre.evaluation.comparison import TITLES, standing, verdict
from kgenre.evaluation.same_top import same_top
from kgenre.reports.learning_curve import still_falling
from kgenre.reports.numbers import Numbers
from kgenre.reports.options import special_loss
from kgenre.reports.run import Run, best_of
from kgenre.reports.run_difference import Difference, baseline_difference, genre_differences, random_order

# The metrics that runs are compared by: one each for probabilities, ranking and decisions.
COMPARED = {"loss": "loss", "map": "mAP", "tuned_f1_micro": "F1 micro, tuned"}
_MOST_NAMES = 25
_SAYS = {"better": "beats", "worse": "is worse than", "level": "is not significantly different from"}
READS = {baseline.key: baseline.reads for baseline in BASELINES if baseline.reads}


def fair_baselines(run: Run) -> list[str]:
    """Return the baselines that see no more than the run does: the genre frequencies, and the one on its own input."""
    seen = (None, run.reads) if run.reads else (None, *READS.values())
    fair = (baseline.key for baseline in BASELINES if baseline.reads in seen and baseline is not Top3Baseline)
    return [key for key in fair if key in run.baselines]


def against_baselines(run: Run, numbers: Numbers) -> str:
    """Describe how the run's loss compares with the baselines', and which differences are significant."""
    groups: dict[str, list[str]] = {}
    for key in fair_baselines(run):
        difference = baseline_difference(run, key, "loss")
        if difference is None:
            continue
        theirs = numbers.of(run, f"test/baseline_{key}/loss")
        groups.setdefault(_SAYS[difference.verdict], []).append(f"{_title(key)} ({theirs})")
    learned = learning_verdict(run, numbers)
    if not groups:
        return f"{run.name}: {learned}" if learned else ""
    said = ", and ".join(f"{says} {listed(who)}" for says, who in groups.items())
    return f"{run.name} (test loss {numbers.of(run, 'test/loss')}) {said}. {learned}".rstrip()


def loss_verdict(run: Run, key: str) -> str | None:
    """Return whether a run's loss is "better" or "worse" than a baseline's, or "level"; None if it has none."""
    difference = baseline_difference(run, key, "loss")
    if difference is not None:
        return difference.verdict
    theirs = run.baselines.get(key, {}).get("loss")
    return None if theirs is None else standing(run.metrics["test/loss"], theirs)


def probabilities_are_off(run: Run) -> bool:
    """Whether the run ranks better than chance, but has a larger loss than the genre frequencies."""
    loss, ranking = (baseline_difference(run, FrequencyBaseline.key, metric) for metric in ("loss", "map"))
    return loss is not None and ranking is not None and (loss.verdict, ranking.verdict) == ("worse", "better")


def learning_verdict(run: Run, numbers: Numbers) -> str:
    """Explain a loss that does not beat the genre frequencies, and a model that hardly tells films apart."""
    loss, ranking = (baseline_difference(run, FrequencyBaseline.key, metric) for metric in ("loss", "map"))
    said = []
    if loss is not None and ranking is not None and loss.verdict != "better":
        beside = ""
        if ranking.verdict == "better":
            order = numbers.about(run, "mAP of films in random order", random_order(run), ".3f")
            beside = f"mAP {numbers.of(run, 'test/map')} against {order} in random order"
        said.append(verdict(loss.verdict, beside, "test", still_falling(run)))
        if loss.verdict == "worse" and (trained_with := special_loss(run)):
            said.append(f"Its training loss, {trained_with}, shifts probabilities on purpose, away from the true ones.")
    same = same_top(run.predictions.prob, run.genre_names)
    if same is not None:
        numbers.about(run, "films with the same three genres first", same.films, ",d")
        said.append(str(same))
    return " ".join(said)


def headline(runs: Sequence[Run], numbers: Numbers) -> str:
    """Return the verdict for the top of the page."""
    best = best_of(runs)
    found = {run.name: loss_verdict(run, FrequencyBaseline.key) for run in runs}
    beaten = [name for name, outcome in found.items() if outcome == "better"]
    guess = "the genre frequencies, a guess that never looks at a film"
    if not any(found.values()):
        text = f"{best.name} has {'the lowest' if len(runs) > 1 else 'a'} test loss of"
    elif len(runs) == 1 and (outcome := found[best.name]):
        text = f"{best.name} {_SAYS[outcome]} {guess}: its test loss is"
    elif not beaten:
        none = "Neither model" if len(runs) == 2 else "None of the models"
        text = f"{none} beats {guess}. {best.name} has the lowest test loss,"
    else:
        every = "Both models beat" if len(runs) == 2 else "All models beat"
        who = every if len(beaten) == len(runs) else f"Only {listed(beaten)} beat{'s' * (len(beaten) == 1)}"
        name = "It" if beaten == [best.name] else best.name
        text = f"{who} {guess}. {name} has the lowest test loss,"
    text += f" {numbers.of(best, 'test/loss')}"
    if "loss" in best.baselines.get(FrequencyBaseline.key, {}):
        text += f" (genre frequencies: {numbers.of(best, 'test/baseline_frequency/loss')})"
    text += "."
    for key in fair_baselines(best):
        outcome = loss_verdict(best, key)
        if key in READS and outcome is not None:
            theirs = numbers.of(best, f"test/baseline_{key}/loss")
            same = (
                f"which reads the same {READS[key]}s and trains in seconds" if best.reads else "which trains in seconds"
            )
            text += f" It {_SAYS[outcome]} {TITLES[key]} ({theirs}), {same}."
    ranks = max(runs, key=lambda run: run.metrics.get("test/map", 0))
    if ranks is not best:
        text += (
            f" {ranks.name} ranks best (mAP {numbers.of(ranks, 'test/map')}; {best.name}: "
            f"{numbers.of(best, 'test/map')})."
        )
    return f"{text} {small_sample_warning(int(best.metrics['test/films']), 'test')}".rstrip()


def better_run(best: Run, others: Mapping[str, Mapping[str, Difference]]) -> list[str]:
    """Compare the best run with the others, given its differences to each by name: one sentence per outcome."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for name, found in others.items():
        outcomes.setdefault((found["loss"].verdict, found["map"].verdict), []).append(name)
    said = []
    for (loss, ranking), names in outcomes.items():
        who, them = listed(names), "them" if len(names) > 1 else "it"
        if loss == "level":
            text = f"The loss of {best.name} does not differ significantly from that of {who}"
            after = {"level": "and neither does its mAP", "better": f"but {best.name} ranks better (mAP) than {them}"}
            after["worse"] = f"but {best.name} ranks worse (mAP) than {them}: which is better depends on the purpose"
        else:
            how, same, other = ("lower", "better", "worse") if loss == "better" else ("higher", "worse", "better")
            # The best of all has a higher loss only on a part of its films, those of a run that was tested on fewer.
            start = "" if loss == "better" else "On the test films that both have, "
            text = f"{start}{best.name} has a significantly {how} loss than {who}"
            after = {"level": "but its mAP does not differ significantly", same: f"and ranks {same} (mAP)"}
            after[other] = f"but ranks {other} (mAP) than {them}: which is better depends on the purpose"
        said.append(f"{text}, {after[ranking]}.")
    return said


def per_genre(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    """Describe which genres are predicted well, which are not, and which run is ahead for which genre."""
    best = best_of(runs)
    lift = {g: ap / best.share(g) for g in best.present_genres if (ap := best.genre(g, "ap")) is not None}
    said = []
    enough = [g for g in lift if best.support(g) >= 10 and best.share(g) < 1]  # if all have it, nothing is ranked
    if enough:
        order = sorted(enough, key=lambda g: lift[g])
        high = [g for g in order[::-1] if lift[g] >= 1.5][:3]
        low = [g for g in order if lift[g] < 1.1][:4]
        least = [g for g in order if lift[g] < 1.5 and g not in low][: 4 - len(low)]
        groups = (("furthest above it", high), ("least above it", least), ("hardly above it, or below,", low))
        shown = [
            f"{how} for {', '.join(f'{g} ({_ap(best, g, numbers)} against {_chance(best, g, numbers)})' for g in of)}"
            for how, of in groups
            if of
        ]
        text = f"Average precision of {best.name} compared with chance, the genre's share of the films: "
        above_elsewhere = len(order) > len(high) and not (low or least)
        text += "; ".join(shown) + "; above it everywhere else" * above_elsewhere
        said.append(f"{text}. Genres with fewer than ten test films are not considered.")
    said += [_genre_by_genre(best, run, enough, numbers) for run in runs if run is not best and enough]
    rare = [g for g in lift if best.support(g) < 10]
    absent = [g for g in best.genre_names if g not in lift]
    aside = []
    if rare:
        aside.append(f"Fewer than ten test films: {list_genres(rare, best, numbers)}; their values are mostly noise.")
    if absent:
        names = list_genres(absent, best, numbers)
        aside.append(f"No test films, so not part of any average over genres: {names}.")
    return [*said, " ".join(aside)] if aside else said


def list_genres(genres: Sequence[str], run: Run, numbers: Numbers) -> str:
    """Return the names of genres; if there are many, their number and three of them."""
    if len(genres) <= _MOST_NAMES:
        return ", ".join(genres)
    count = numbers.about(run, f"genres such as {genres[0]}", len(genres), "d")
    return f"{count} genres, such as {', '.join(genres[:3])}"


def _genre_by_genre(best: Run, other: Run, genres: Sequence[str], numbers: Numbers) -> str:
    """Describe for which genres one of two runs is significantly better."""
    differences = genre_differences(best, other, genres)
    parts = []
    for run, against, outcome in ((best, other, "better"), (other, best, "worse")):
        ahead = [g for g in genres if differences[g].verdict == outcome]
        ahead.sort(key=lambda g: -abs(differences[g].value))
        if ahead:
            named = ", ".join(f"{g} ({_ap(run, g, numbers)} against {_ap(against, g, numbers)})" for g in ahead[:4])
            more = f" and {len(ahead) - 4} more" if len(ahead) > 4 else ""
            parts.append(f"{run.name} is ahead for {named}{more}")
    level = sum(difference.verdict == "level" for difference in differences.values())
    if not parts:
        return f"{best.name} and {other.name}: no genre's average precision differs significantly."
    count = numbers.record(f"{best.name} and {other.name}: genres where they cannot be told apart", level, "d")
    rest = f"; for the other {count} the difference is not significant" if level else ""
    return f"{best.name} and {other.name}, average precision by genre: {'; '.join(parts)}{rest}."


def _title(key: str) -> str:
    return f"the {TITLES[key]}" if key == FrequencyBaseline.key else TITLES.get(key, key)


def short_title(key: str) -> str:
    """Return a baseline's title without its method, which is explained below the tables."""
    return TITLES.get(key, key).removesuffix(" + logistic regression")


def listed(names: Sequence[str]) -> str:
    """Join names as "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _ap(run: Run, genre: str, numbers: Numbers) -> str:
    return numbers.of(run, f"test/genre/{genre}/ap")


def _chance(run: Run, genre: str, numbers: Numbers) -> str:
    return numbers.about(run, f"share of test films with {genre}", run.share(genre), ".2f")
