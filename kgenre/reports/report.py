"""The report: builds its blocks from runs and writes them as HTML, Markdown and PDF."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kgenre.checkpoints.files import whole_file
from kgenre.evaluation.fonts import rendering_problems
from kgenre.reports import sentences, tables, verdicts
from kgenre.reports.blocks import Block, Bullets, Figure, Films, Heading, Paragraph
from kgenre.reports.example_films import choose_films, example_films
from kgenre.reports.figures import MOST_GENRES, curves_figure, genres_figure
from kgenre.reports.glossary import GLOSSARY
from kgenre.reports.model_card import model_card
from kgenre.reports.numbers import Numbers, counted
from kgenre.reports.options import differing_options, softened_targets, special_loss
from kgenre.reports.read_runs import read_runs
from kgenre.reports.run import ReportError, Run, best_of
from kgenre.reports.run_difference import run_differences
from kgenre.reports.tested_checkpoint import tested_epoch, untested_bests

_log = logging.getLogger("kgenre")

_MOST_IN_FULL = 6  # runs with curves and text: nobody reads more


def write_report(
    folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    films: int = 6,
    explain: bool = True,
    data_path: str | None = None,
) -> Path:
    """Write ``report.html``, ``report.md`` with its pictures, ``report.pdf``, ``model_card.md`` and ``report.json``.

    ``report.json`` holds every number on the pages; those from ``metrics.json`` keep their names, after the run's. The
    same runs yield the same bytes.

    Args:
        folders: folder of a tested run, or of several with the same split.
        out: folder to write into; created if it does not exist.
        films: number of example films to show.
        explain: mark the parts of the poster and the words that speak for the genre; needs the backend.
        data_path: where the films are, if they have moved.

    Returns:
        The folder.

    Raises:
        ReportError: a folder is not a tested run, the runs cannot be compared, or ``out`` cannot be created.
    """
    from kgenre.reports.html import to_html
    from kgenre.reports.markdown import to_markdown
    from kgenre.reports.pdf import to_pdf

    runs, numbers, folder = read_runs(folders, data_path), Numbers(), Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{out} cannot be written to ({error.strerror}): choose a folder with --out.") from error
    blocks = report_blocks(runs, numbers, films, explain)
    text, pictures = to_markdown(blocks)
    if wrong := rendering_problems(text):
        _log.warning(
            "report.pdf and the pictures show some names wrongly: %s. report.html shows them correctly.", wrong
        )
    card = model_card(best_of(runs), numbers)
    files = pictures | {
        "report.md": text.encode(),
        "report.html": to_html(blocks).encode(),
        "report.pdf": to_pdf(blocks),
        "model_card.md": card.encode(),
        "report.json": (json.dumps(numbers.recorded, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for name, content in files.items():
        with whole_file(folder / name) as partial:
            partial.write_bytes(content)
    return folder


def report_blocks(runs: Sequence[Run], numbers: Numbers, films: int, explain: bool) -> list[Block]:
    """Build the blocks of the report, from top to bottom."""
    tested = {frozenset(run.predictions.ids) for run in runs}
    about = runs[0].name if len(runs) == 1 else f"{len(runs)} models" + " on the same test films" * (len(tested) == 1)
    if many := len(runs) > _MOST_IN_FULL:
        runs = sorted(runs, key=lambda run: run.metrics["test/loss"])
    full = runs[:_MOST_IN_FULL]
    blocks: list[Block] = [
        Heading(f"Film genres: {about}", 1),
        *([Bullets(tuple(notices))] if (notices := untested_bests(runs, numbers)) else []),
        Paragraph(verdicts.headline(runs, numbers)),
        *([Paragraph(sentences.tested_on(runs, numbers))] if len(tested) > 1 else []),
        Heading("Models and data"),
        Paragraph(sentences.data(runs, numbers)),
        tables.training_table(runs, numbers),
    ]
    if options := differing_options({run.name: run.config for run in full}):
        told = "; ".join(f"{name}: {values}" for name, values in options.items())
        blocks.append(Paragraph(f"Options that differ. {told}.", small=True))
    if many:
        only = f"The tables list all {len(runs)}, sorted by test loss; everything else is about the first {len(full)}."
        blocks.append(Paragraph(only))
    curves = curves_figure(full)
    if curves is not None:
        caption = (
            "Loss (mean binary cross-entropy) by epoch; lower is better. The point marks the epoch with the lowest "
            "validation loss. Training loss is averaged over an epoch while the weights change, with dropout and "
            "augmentation where a model has them, and may start above the frame. A gap between the two curves is "
            "therefore not overfitting by itself; a validation loss that rises while the training loss falls is."
        )
        if any(tested_epoch(run) is not None for run in full):
            caption += " A vertical line marks the epoch of the tested checkpoint if the loss was not lowest there."
        for run in filter(special_loss, full):
            caption += (
                f" The training loss of {run.name} is {special_loss(run)}, on another scale: it cannot be compared "
                "with its validation loss, which is binary cross-entropy."
            )
        for run in full:
            if softened := softened_targets(run):
                given = verdicts.listed([f"{name} {numbers.about(run, name, v, 'g')}" for name, v in softened.items()])
                caption += (
                    f" The training loss of {run.name} is that of softened targets ({given}), its validation loss that "
                    "of the films' own genres: their levels cannot be compared."
                )
        blocks.append(Figure("learning_curves.png", curves, caption, "Training and validation loss over the epochs"))
    blocks += [
        Bullets(tuple(sentences.training(run, numbers) for run in full)),
        Heading("Test results, with baselines"),
        tables.results(runs, numbers),
        *_comparison(full, numbers),
        Heading("Genre by genre"),
    ]
    by_genre = genres_figure(full)
    if by_genre is not None:
        caption = (
            "Left: average precision of each genre (test films in brackets); chance is the genre's share of the films. "
            f"Right: F1 at 0.5 and at thresholds tuned on the validation films.{_most_frequent(runs, numbers)}"
        )
        blocks.append(Figure("genres.png", by_genre, caption, "Average precision and F1 of each genre"))
    blocks += [
        Bullets(tuple(verdicts.per_genre(full, numbers))),
        Heading("Thresholds and probabilities"),
        tables.decisions(runs, numbers),
        Bullets(tuple(sentences.thresholds(run, numbers) for run in full)),
    ]
    chosen = _chosen(full, films)
    if chosen:
        shown = example_films(full, chosen, explain=explain)
        how = "the models' mean loss, then those that they disagree on most, each with every model's"
        if len(runs) == 1:
            how = "loss, then those that the model is least sure of, each with its"
        what = (
            f"The best and worst by {how} three most probable genres; ✓ is correct. Orange marks the parts of the "
            "poster, or the words, that speak for the first of them (Grad-CAM, gradient times input), blue words speak "
            "against it; no orange: nothing on the poster speaks for it."
        )
        blocks += [Heading("Example films of the test set"), Paragraph(what, small=True), Films(tuple(shown))]
    blocks += [Heading("Limitations"), Bullets(tuple(_limits(runs, numbers)))]
    steps = sentences.next_steps(full)
    if steps:
        blocks += [Heading("What to try next"), Bullets(tuple(steps))]
    blocks += [Heading("Glossary"), Paragraph(GLOSSARY, small=True)]
    blocks += [Heading("Software and hardware"), Paragraph(_made_with(runs), small=True)]
    return blocks


def _most_frequent(runs: Sequence[Run], numbers: Numbers) -> str:
    """Return a note that the genre figure omits some genres; "" if it shows all."""
    best = best_of(runs)
    if len(best.present_genres) <= MOST_GENRES:
        return ""
    every = numbers.about(best, "genres with test films", len(best.present_genres), "d")
    shown = numbers.record("genres in the figure", MOST_GENRES, "d")
    return f" Only the {shown} most frequent of {every} genres; metrics.json has all."


def _comparison(runs: Sequence[Run], numbers: Numbers) -> list[Block]:
    """Build the blocks about which differences are significant, and what follows from them."""
    best, between, said = best_of(runs), {}, [verdicts.against_baselines(run, numbers) for run in runs]
    for run in runs:
        if run is not best:
            found, films = run_differences(best, run, list(verdicts.COMPARED))
            numbers.record(f"{best.name} and {run.name}: common test films", films, ",d")
            between[run.name] = found
    said += verdicts.better_run(best, between)
    pairs = {f"{best.name} – {name}": found for name, found in between.items()}
    table = tables.differences(runs, pairs, numbers)
    verdict = Bullets(tuple(filter(None, said)))
    return [*([verdict] if verdict.items else []), *([table] if table else [])]


def _chosen(runs: Sequence[Run], films: int) -> list[tuple[str, str]]:
    kinds = {"best": "predicted well", "worst": "predicted badly", "disagreed": "disagreed on"}
    if len(runs) == 1:
        kinds["disagreed"] = "unsure"
    chosen: dict[str, str] = {}
    for position, (kind, title) in enumerate(kinds.items()):
        wanted = math.ceil(films * (position + 1) / len(kinds))
        for film_id in choose_films(runs, films, kind):
            if len(chosen) < wanted:
                chosen.setdefault(film_id, title)
    return list(chosen.items())


def _limits(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    run = best_of(runs)
    films = counted(numbers.of(run, "test/films"), "test film")
    said = [f"{films} from one source and one split: the intervals hold for other films of the same kind only."]
    small = [g for g in run.genre_names if 0 < run.support(g) < 20]
    if small:
        count = numbers.about(run, "genres with 1 to 19 test films", len(small), "d")
        said.append(f"Genres with fewer than 20 test films: {count}; their values vary from split to split.")
    for limited in runs:
        trainer = limited.config.get("trainer", {})
        for option in ("limit_train_batches", "overfit_batches"):
            if str(value := trainer.get(option)) not in ("None", "1.0", "0", "0.0"):  # 1 is one batch, 1.0 all
                printed = numbers.about(limited, option, value, "g")
                said.append(
                    f"{limited.name} trained with {option}={printed}: an epoch may not contain all training films."
                )
        for part, done, used in (
            ("validation", "validated", limited.validated_films),
            ("test", "tested", "test/films"),
        ):
            if limited.metrics.get(used, math.inf) < limited.metrics.get(f"data/{part}_films", 0):
                films_used, of = numbers.of(limited, used), numbers.of(limited, f"data/{part}_films")
                said.append(f"{limited.name} was {done} on only {films_used} of the {of} {part} films of its split.")
        fitted = limited.metrics.get("test/baseline_films", math.inf)
        if limited.folder == limited.trained_in and fitted < limited.metrics.get("data/train_films", 0):
            films_used, of = numbers.of(limited, "test/baseline_films"), numbers.of(limited, "data/train_films")
            said.append(
                f"The baselines of {limited.name} were fitted on only {films_used} of its {of} training films: the "
                "others were missing when it was tested."
            )
    said.append(
        "Genre labels come from one database and may be incomplete: a genre that is not listed may still apply."
    )
    if len(runs) > 1:
        said.append("One run per model: the intervals do not include the variation between random seeds.")
    if len(runs) > 2:
        said.append(f"{run.name} is the best of several on these test films: some of its lead is luck.")
    return said


def _made_with(runs: Sequence[Run]) -> str:
    parts: dict[str, list[str]] = {}
    for run in runs:
        at = run.environment
        versions = at.get("versions", {})
        commit = f", commit {at['git_commit'][:12]}" if at.get("git_commit") else ""
        backend = ", then ".join(f"{name} {versions.get(name) or ''}".strip() for name in run.backends)
        seed = "" if run.config.get("seed_everything") is None else f", seed {run.config['seed_everything']}"
        how = (
            f"Keras {versions.get('keras')} on {backend} ({run.hardware}), "
            f"kgenre {versions.get('kgenre')}{commit}{seed}, {at.get('time', '')[:10]}"
        )
        parts.setdefault(how, []).append(run.name)
    said = "; ".join(f"{verdicts.listed(names)}: {how}" for how, names in parts.items()) + "."
    trained = [run for run in runs if not run.is_fused]
    # A run started from Python has no config.yaml.
    if trained and all((run.trained_in / "config.yaml").exists() for run in trained):
        said += " To train a model again, under the same KERAS_BACKEND: kgenre fit --config RUN/config.yaml."
    if fused := [run.name for run in runs if run.is_fused]:
        said += f" To combine {verdicts.listed(fused)} again: kgenre fuse, with the runs that it was made from."
    return said
