"""A model card (Mitchell et al., 2019): what the model is for, and what it is not."""

from __future__ import annotations

from kgenre.reports import sentences, verdicts
from kgenre.reports.markdown import escaped
from kgenre.reports.numbers import Numbers, counted
from kgenre.reports.run import Run
from kgenre.reports.tested_checkpoint import chosen_on_validation


def model_card(run: Run, numbers: Numbers) -> str:
    """The card of one run as Markdown (https://arxiv.org/abs/1810.03993)."""
    versions = run.environment.get("versions", {})
    trained_on = counted(numbers.of(run, "data/train_films"), "film")
    others = counted(numbers.of(run, run.validated_films), "other")
    chosen = f"; {what} on {others}" if (what := chosen_on_validation([run])) else ""
    rows = [
        f"| {title} | {numbers.of(run, f'test/{name}')} | "
        f"{' to '.join(numbers.of(run, f'test/interval/{name}/{end}') for end in ('low', 'high'))} |"
        for name, title in (
            ("loss", "loss (binary cross-entropy)"),
            ("map", "mAP"),
            ("tuned_f1_micro", "micro-F1, tuned threshold"),
            ("per_genre_tuned_f1_macro", "macro-F1, a threshold for each genre"),
            ("top3_hit", "top-3 hit"),
        )
    ]
    lines = [
        f"# Model card: {escaped(run.name)}",
        "",
        f"- **Model**: {escaped(run.network)}, {numbers.of(run, 'model/parameters')} parameters, Keras "
        f"{versions.get('keras')} on {', then '.join(run.backends)}.",
        f"- **Output**: a probability for each of {counted(str(len(run.genre_names)), 'genre')}, independent of each "
        "other; with tuned thresholds, a list of genres.",
        f"- **Trained on**: {trained_on}{chosen}.",
        f"- **Genres in the test**: {escaped(verdicts.list_genres(run.present_genres, run, numbers))}.",
        "",
        "## Test results",
        "",
        f"| {counted(numbers.of(run, 'test/films'), 'film')} | value | 95 % interval |",
        "| --- | ---: | ---: |",
        *rows,
        "",
        escaped(verdicts.against_baselines(run, numbers)),
        "",
        escaped(sentences.calibration(run, numbers)),
        "",
        "## Intended use",
        "",
        "Suggesting genres of films like those it was trained on, confirmed by a person; teaching and comparison.",
        "",
        "## Out of scope",
        "",
        "Deciding anything about people, or films of other languages, times or markets than its training films; genres "
        "with few training films, which it hardly predicts.",
        "",
    ]
    return "\n".join(lines)
