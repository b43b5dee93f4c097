"""The report: blocks from runs, and the files that they become."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from kgenre.evaluation.comparison import TITLES
from kgenre.reports import sentences
from kgenre.reports.blocks import Block, Bullets, Figure, Films, Heading, Paragraph, Table
from kgenre.reports.example_films import choose_films, example_films
from kgenre.reports.figures import curves_figure, genres_figure
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.model_card import model_card
from kgenre.reports.numbers import Numbers
from kgenre.reports.run import Run, read_runs

_COLUMNS = (
    ("loss", "loss", ".4f"),
    ("map", "mAP", ".3f"),
    ("roc_auc", "ROC AUC", ".3f"),
    ("f1_micro", "F1 micro\nat 0.5", ".3f"),
    ("f1_macro", "F1 macro\nat 0.5", ".3f"),
    ("tuned_f1_micro", "F1 micro\ntuned", ".3f"),
    ("per_genre_tuned_f1_macro", "F1 macro\nper genre", ".3f"),
    ("top3_hit", "top-3\nhit", ".3f"),
)


def write_report(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    films: int = 6,
    seed: int = 0,
    explain: bool = True,
) -> Path:
    """Write ``report.html``, ``report.md`` with its pictures, ``report.pdf``, ``model_card.md`` and ``report.json``.

    ``report.json`` holds every number that the pages say, by the name it has in ``metrics.json``. The same runs give
    the same bytes.

    Args:
        folders: the runs, one or more, tested on the same split.
        out: the folder to write into; made where it is not there.
        films: example films to show.
        seed: of the example films.
        explain: show where on the poster and in which words the models see the genre; needs the backend.

    Returns:
        The folder.

    Raises:
        ReportError: a folder is not a tested run, or the runs cannot be compared.
    """
    from kgenre.reports.html import to_html
    from kgenre.reports.markdown import to_markdown
    from kgenre.reports.pdf import to_pdf

    runs, numbers = read_runs(folders), Numbers()
    blocks = report_blocks(runs, numbers, films, seed, explain)
    card = model_card(min(runs, key=lambda run: run.metrics["test/loss"]), numbers)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    text, pictures = to_markdown(blocks)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(to_html(blocks), encoding="utf-8")
    (folder / "report.pdf").write_bytes(to_pdf(blocks))
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(numbers.said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def report_blocks(runs: Sequence[Run], numbers: Numbers, films: int, seed: int, explain: bool) -> list[Block]:
    """The pages from top to bottom."""
    names = ", ".join(run.name for run in runs)
    blocks: list[Block] = [
        Heading(f"Film genres: {names}", 1),
        Paragraph(sentences.headline(runs, numbers)),
        Heading("What was trained on what"),
        _training_table(runs, numbers),
    ]
    curves = curves_figure(runs)
    if curves is not None:
        caption = (
            "Loss (mean binary cross-entropy) over the epochs; lower is better. The point is the checkpoint tested."
        )
        blocks.append(Figure("learning_curves.png", curves, caption, "Training and validation loss over the epochs"))
    blocks += [
        Bullets(tuple(sentences.training(run, numbers) for run in runs)),
        Heading("Results on the test films, beside what needs no network"),
        *_results(runs, numbers),
        Bullets(tuple(_standing(runs, numbers))),
        Heading("Genre by genre"),
        Figure(
            "genres.png",
            genres_figure(runs),
            "Left: average precision of each genre (test films in brackets). Right: F1 at 0.5 and at thresholds tuned "
            "on the validation films.",
            "Average precision and F1 of each genre",
        ),
        Bullets(tuple(sentences.per_genre(runs, numbers))),
        Heading("Class imbalance, thresholds, probabilities"),
        Bullets(tuple(said(run, numbers) for run in runs for said in (sentences.thresholds, sentences.calibration))),
    ]
    chosen = _chosen(runs, films, seed)
    if chosen:
        shown = example_films(runs, chosen, explain=explain)
        what = (
            "Best and worst by the models' mean loss, then those that they disagree on most. Each model's three most "
            "probable genres; ✓ is right. Orange marks where on the poster, or in which words, it sees the first of "
            "them (Grad-CAM, gradient times input); blue words speak against it."
        )
        blocks += [Heading("Example films of the test set"), Paragraph(what, small=True), Films(tuple(shown))]
    blocks += [Heading("Limits"), Bullets(tuple(_limits(runs, numbers)))]
    steps = sentences.next_steps(runs)
    if steps:
        blocks += [Heading("What to try next"), Bullets(tuple(steps))]
    blocks += [Heading("Made with"), Paragraph(_made_with(runs), small=True)]
    return blocks


def _training_table(runs: Sequence[Run], numbers: Numbers) -> Table:
    rows = []
    for run in runs:
        model = run.config.get("model", {}).get("init_args", {})
        data = run.config.get("data", {}).get("init_args", {})
        curve = learning_curve(run)
        rate = model.get("learning_rate")
        # The first epoch compiles: the middle one of the others says what an epoch takes.
        seconds = sorted(
            e["throughput/seconds_per_epoch"] for e in run.epochs[1:] if "throughput/seconds_per_epoch" in e
        )
        speeds = sorted(
            e["throughput/samples_per_second"] for e in run.epochs[1:] if "throughput/samples_per_second" in e
        )
        rows.append(
            (
                run.name,
                numbers.of(run, "model/parameters", ",d"),
                " / ".join(numbers.of(run, f"data/{part}_films", "d") for part in ("train", "validation", "test")),
                numbers.say(f"{run.name}: learning rate", float(rate), "g") if rate is not None else "–",
                str(data.get("batch_size", "–")),
                numbers.say(f"{run.name}: epochs", len(curve.train), "d") if curve else "–",
                numbers.say(f"{run.name}: best epoch", curve.best + 1, "d") if curve else "–",
                numbers.say(f"{run.name}: seconds an epoch", seconds[len(seconds) // 2], ".1f") if seconds else "–",
                numbers.say(f"{run.name}: films a second", speeds[len(speeds) // 2], ".0f") if speeds else "–",
            )
        )
    header = (
        "",
        "parameters",
        "training / validation / test",
        "rate",
        "batch",
        "epochs",
        "best",
        "s / epoch",
        "films / s",
    )
    return Table(header, tuple(rows), first_width=0.2)


def _results(runs: Sequence[Run], numbers: Numbers) -> list[Block]:
    rows, bold = [], []
    for run in runs:
        bold.append(len(rows))
        rows.append((run.name, *(numbers.of(run, f"test/{name}", form) for name, _, form in _COLUMNS)))
        ends = [
            [numbers.of(run, f"test/interval/{name}/{end}", form) for end in ("low", "high")]
            for name, _, form in _COLUMNS
        ]
        rows.append(("  95 % interval", *("–" if "–" in pair else f"{pair[0]}–{pair[1]}" for pair in ends)))
    # Baselines are of the same films for every run, but only a run with posters has the one of posters.
    keys = {key for run in runs for key in run.baselines}
    for key in sorted(keys, key=lambda key: list(TITLES).index(key) if key in TITLES else len(TITLES)):
        run = next(run for run in runs if key in run.baselines)
        name = TITLES.get(key, key)
        rows.append((name, *(numbers.of(run, f"test/baseline_{key}/{metric}", form) for metric, _, form in _COLUMNS)))
    films = numbers.of(runs[0], "test/films", "d")
    caption = (
        f"{films} test films of {runs[0].name}; 95 % intervals from 200 bootstrap resamples. Loss: lower is better; "
        "all others: higher. Tuned: one threshold, per genre: one for each, both chosen on validation films."
    )
    return [Table(("", *(title for _, title, _ in _COLUMNS)), tuple(rows), caption, tuple(bold), 0.24)]


def _standing(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    said = [sentences.against_baselines(run, ("frequency", "tfidf", "colours"), numbers) for run in runs]
    return [sentence for sentence in said if sentence] + sentences.better_run(runs, numbers)


def _chosen(runs: Sequence[Run], films: int, seed: int) -> list[tuple[str, str]]:
    kinds = {"best": "predicted well", "worst": "predicted badly", "disagreed": "disagreed on"}
    if len(runs) == 1:
        kinds["disagreed"] = "unsure"
    chosen: dict[str, str] = {}
    for position, (kind, title) in enumerate(kinds.items()):
        wanted = films * (position + 1) // len(kinds)
        for film_id in choose_films(runs, films, kind, seed):
            if len(chosen) < wanted:
                chosen.setdefault(film_id, title)
    return list(chosen.items())


def _limits(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    run = min(runs, key=lambda run: run.metrics["test/loss"])
    films = numbers.of(run, "test/films", "d")
    said = [f"{films} test films of one source and one split: the intervals are for other films of the same kind only."]
    small = [g for g in run.genre_names if 0 < (run.genre(g, "support") or 0) < 20]
    if small:
        count = numbers.say(f"{run.name}: genres with 1 to 19 test films", len(small), "d")
        said.append(f"{count} genres have fewer than 20 test films; their figures move with each split.")
    said.append("Genres are what one database says: a film without a genre there need not be without it.")
    if len(runs) > 1:
        said.append("One run a model: another seed moves the loss too, and that is in no interval here.")
    return said


def _made_with(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        at = run.environment
        versions = at.get("versions", {})
        devices = ", ".join(at.get("devices", [])) or "unknown device"
        commit = f", commit {at['git_commit'][:12]}" if at.get("git_commit") else ""
        backend = at.get("backend", "unknown backend")
        number = versions.get(backend)
        seed = run.config.get("seed_everything")
        parts.append(
            f"{run.name}: Keras {versions.get('keras')} on {backend} {number or ''} ({devices}), kgenre "
            f"{versions.get('kgenre')}{commit}{f', seed {seed}' if seed is not None else ''}, {at.get('time', '')[:10]}"
        )
    return "; ".join(parts) + ". Repeat a run: kgenre fit --config RUN/config.yaml."
