"""The report's tables: models and training, test results, decisions, and which differences are significant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kgenre.evaluation.baselines import FrequencyBaseline, Top3Baseline
from kgenre.evaluation.comparison import TITLES
from kgenre.reports import verdicts
from kgenre.reports.blocks import Table
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.numbers import Numbers, counted, form_of
from kgenre.reports.options import learning_rate
from kgenre.reports.run import Run
from kgenre.reports.run_difference import Difference, baseline_difference, random_order
from kgenre.reports.tested_checkpoint import tested_epoch

_COLUMNS = {
    "loss": "loss",
    "map": "mAP",
    "roc_auc": "ROC AUC",
    "f1_micro": "F1 micro\nat 0.5",
    "f1_macro": "F1 macro\nat 0.5",
    "tuned_f1_micro": "F1 micro\ntuned",
    "per_genre_tuned_f1_macro": "F1 macro\nper genre",
    "top3_hit": "top-3\nhit",
}

_NOTE = " †"  # marks a row that the caption explains


def training_table(runs: Sequence[Run], numbers: Numbers) -> Table:
    """Build the table of models, their training options and their speed."""
    rows = []
    for run in runs:
        rate = None if run.is_fused else learning_rate(run)[1]
        # The first epoch includes compilation: take the median of the others.
        names = ("throughput/seconds_per_epoch", "throughput/samples_per_second")
        epochs = sorted((e[names[0]], e.get(names[1], 0.0)) for e in run.epochs[1:] if names[0] in e)
        seconds, rows_a_second = epochs[len(epochs) // 2] if epochs else (0.0, 0.0)
        speed = 0.0
        if rows_a_second:  # without the rows that pad the last batch
            films = min(rows_a_second * seconds, run.metrics.get("data/train_films", math.inf))
            speed = films / seconds
        rows.append(
            (
                run.name,
                f"{run.reads}s" if run.reads else "both" if run.is_fused or len(run.inputs) > 1 else "–",
                numbers.of(run, "model/parameters"),
                numbers.about(run, "learning rate", float(rate), "g") if isinstance(rate, int | float) else "–",
                "–" if run.is_fused else str(run.arguments("data").get("batch_size", "–")),
                numbers.about(run, "epochs", len(run.epochs), "d") if run.epochs else "–",
                _best_epoch(run, numbers),
                numbers.about(run, "seconds per epoch", seconds, ".1f") if seconds else "–",
                numbers.about(run, "films per second", speed, ".0f") if speed else "–",
            )
        )
    header = ("", "reads", "parameters", "learning\nrate", "batch", "epochs", "best\nepoch", "s / epoch", "films / s")
    trained = [run for run in runs if not run.is_fused]
    chosen = list(dict.fromkeys(name for run in trained for name in _optimizers(run)))
    together = [run.name for run in runs if run not in trained]
    with_what = f"Trained with {verdicts.listed(chosen)}. " if chosen else ""
    hardware = " or ".join(dict.fromkeys(run.hardware for run in trained))
    timed = f"Seconds per epoch and films per second: the median epoch after the first, on {hardware}."
    said = [with_what + timed] if trained else []
    said += [f"Combined from trained runs, not trained: {verdicts.listed(together)}."] if together else []
    return Table(header, tuple(rows), " ".join(said), first_width=0.2)


def _best_epoch(run: Run, numbers: Numbers) -> str:
    """Return the epoch with the lowest validation loss, and that of the tested checkpoint if it is another one."""
    curve, tested = learning_curve(run), tested_epoch(run)
    best = numbers.about(run, "best epoch", curve.best_epoch, "g") if curve else "–"
    return best if tested is None else f"{best} (tested: {numbers.about(run, 'tested epoch', tested, 'g')})"


def _optimizers(run: Run) -> list[str]:
    """Return the command line's optimizer, else those of `GenreClassifier`; [] for modules that choose their own."""
    if given := run.config.get("optimizer", {}).get("class_path"):
        return [str(given).rpartition(".")[2]]
    if not str(run.config.get("model", {}).get("class_path", "")).endswith("GenreClassifier"):
        return []
    options = run.arguments("model")
    own = options.get("optimizer", "adam")
    layers = [given.get("optimizer", own) for given in (options.get("layer_optimizers") or {}).values()]
    return [{"adam": "Adam", "sgd": "SGD"}.get(name, name) for name in (own, *layers)]


def results(runs: Sequence[Run], numbers: Numbers) -> Table:
    """Build the table of the headline metrics with their intervals, and of all baselines."""

    def cells(run: Run, base: str, end: str = "") -> list[str]:
        return [numbers.of(run, f"{base}/{name}{end}") for name in _COLUMNS]

    rows: list[tuple[str, ...]] = []
    for run in runs:
        ends = zip(*(cells(run, "test/interval", end) for end in ("/low", "/high")), strict=True)
        rows.append((run.name, *cells(run, "test")))
        rows.append(("  95 % interval", *("–" if "–" in pair else "–".join(pair) for pair in ends)))
    rows += [(_baseline_name(key, run), *cells(run, f"test/baseline_{key}")) for key, run in _baselines(runs)]
    films = counted(numbers.of(runs[0], "test/films"), "test film")
    if len({frozenset(run.predictions.ids) for run in runs}) > 1:
        films += f" of {runs[0].name}"
    caption = (
        f"{films}; 95 % intervals from 200 bootstrap resamples. Loss: lower is better; "
        "all others: higher. Tuned: one threshold for all genres; per genre: one for each (per_genre_tuned_f1_macro in "
        "metrics.json; tuned_f1_macro uses the one for all); both chosen on the validation films. TF-IDF, "
        "colours and layout: features of logistic regressions (scikit-learn) fitted on the same training films."
    )
    return Table(("", *_COLUMNS.values()), tuple(rows), caption, tuple(range(0, 2 * len(runs), 2)), 0.23)


def _baselines(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """Return each baseline with the first run that has it: the values agree, but runs without posters lack one."""
    found = {key: run for run in reversed(runs) for key in run.baselines}
    order = [*TITLES, *(key for key in found if key not in TITLES)]
    return [(key, found[key]) for key in order if key in found]


def _baseline_name(key: str, run: Run) -> str:
    if key == Top3Baseline.key and run.top3_genres:
        of = "the top three: " if len(run.top3_genres) == 3 else ""  # there may be fewer genres
        return f"always {of}{', '.join(run.top3_genres)}"
    return verdicts.short_title(key) + (f" ({verdicts.READS[key]}s)" if key in verdicts.READS else "")


def _precision_and_recall(run: Run, base: str, numbers: Numbers) -> list[str]:
    """Format precision and recall under ``base``, at 0.5 and at the single tuned threshold."""
    pairs = [[numbers.of(run, f"{base}/{at}{name}") for name in ("precision", "recall")] for at in ("", "tuned_")]
    return ["–" if pair == ["–", "–"] else " / ".join(pair) for pair in pairs]


def decisions(runs: Sequence[Run], numbers: Numbers) -> Table:
    """Build the table of the decisions at each threshold, and of the errors of the probabilities."""

    def found(run: Run, prefix: str, at: str) -> str:
        count = sum((run.genre(g, f"{prefix}f1") or 0) > 0 for g in run.present_genres)
        return numbers.about(run, f"genres found {at}", count, "d")

    def errors(run: Run, base: str) -> list[str]:
        return [numbers.of(run, f"{base}/{name}") for name in ("ece", "brier")]

    rows = []
    for run in runs:
        tuned = found(run, "tuned_", "at tuned thresholds") if "test/threshold" in run.metrics else "–"
        expected = numbers.about(run, "expected genres per film", run.predictions.prob.sum(axis=1).mean(), ".1f")
        threshold = numbers.of(run, "test/threshold")
        pairs = _precision_and_recall(run, "test", numbers)
        rows.append(
            (run.name, f"{found(run, '', 'at 0.5')} / {tuned}", threshold, *pairs, expected, *errors(run, "test"))
        )
    run = runs[0]
    there = numbers.about(run, "true genres per film", run.predictions.true.sum(axis=1).mean(), ".1f")
    of = numbers.about(run, "genres with test films", len(run.present_genres), "d")
    for key, of_run in _baselines(runs):
        base = f"test/baseline_{key}"
        pairs = _precision_and_recall(of_run, base, numbers)
        rows.append((_baseline_name(key, of_run), "–", "–", *pairs, "–", *errors(of_run, base)))
    header: tuple[str, ...] = ("", "genres found\n0.5 / tuned", "threshold\ntuned", "precision /\nrecall at 0.5")
    header += ("precision /\nrecall tuned", "genres per film\nexpected")
    caption = (
        f"Genres found: those with at least one correct film, of {of} in the test films; tuned: one threshold per "
        "genre. Precision and recall: micro, tuned with the single threshold of that column. "
        f"Expected: the mean sum of a film's probabilities; the true number is {there}. Calibration error: how far "
        "probabilities are from observed frequencies, over all pairs of film and genre. Both errors: lower is better."
    )
    return Table(
        (*header, "calibration\nerror (ECE)", "squared error\n(Brier)"), tuple(rows), caption, first_width=0.24
    )


def differences(
    runs: Sequence[Run], between_runs: Mapping[str, Mapping[str, Difference]], numbers: Numbers
) -> Table | None:
    """Build a table with a row for each pair compared; None if nothing was compared.

    Args:
        runs: each is compared with its baselines.
        between_runs: "a – b" -> metric -> difference.
        numbers: records the numbers of the table.
    """
    pairs: dict[str, Mapping[str, Difference | None]] = {
        f"{run.name} – {verdicts.short_title(key)}{_note(run, key)}": {
            m: baseline_difference(run, key, m) for m in verdicts.COMPARED
        }
        for run in runs
        for key in verdicts.fair_baselines(run)
    }
    rows = [_difference_row(name, found, numbers) for name, found in (pairs | dict(between_runs)).items()]
    header = ("is the difference significant?", *verdicts.COMPARED.values())
    caption = (
        "First minus second, with the 95 % interval of the paired difference (the same 200 resamples of the test films "
        "for both). ▲ the first is better, ▼ worse, = the interval contains zero: not significant."
    )
    run = next((run for run in runs if baseline_difference(run, FrequencyBaseline.key, "map")), None)
    if run is not None:
        chance = numbers.about(run, "mAP of films in random order", random_order(run), ".3f")
        own = numbers.of(run, "test/baseline_frequency/map")
        caption += (
            f" {_NOTE.strip()} mAP is compared with {chance}, the mean for these films in random order, instead of the "
            f"{own} of the table above: average precision is too favourable to rare genres when there are few films."
        )
    shown = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return Table(header, tuple(shown), caption, first_width=0.3) if shown else None


def _note(run: Run, key: str) -> str:
    return _NOTE if key == FrequencyBaseline.key and baseline_difference(run, key, "map") is not None else ""


def _difference_row(name: str, found: Mapping[str, Difference | None], numbers: Numbers) -> tuple[str, ...]:
    cells = [name]
    for metric in verdicts.COMPARED:
        difference = found.get(metric)
        if difference is None or math.isnan(difference.value):  # no film has a genre
            cells.append("–")
            continue
        ends = (("", difference.value), (" low", difference.low), (" high", difference.high))
        value, low, high = (
            numbers.record(f"{name}: {metric}{end}", number, f"+{form_of(metric)}") for end, number in ends
        )
        mark = {"better": " ▲", "worse": " ▼", "level": " ="}[difference.verdict]
        cells.append(f"{value} ({low} to {high}){mark}")
    return tuple(cells)
