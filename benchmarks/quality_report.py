"""The tables and plots of `quality.py`, from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_table import select_rows, table_row

SHOWN = ("loss", "map", "tuned_f1_micro", "tuned_f1_macro")
_AGAINST = ("TF-IDF, stems", "frequencies")
Row = dict[str, Any]


def show(result: dict[str, Any], folder: Path | None, pairs: Sequence[str] = (), only: str | None = None) -> None:
    """Print the tables, of their rows those with ``only``; save the plots in ``folder``, if given."""
    tables = [means(result["rows"])]
    if pairs:
        tables.append(differences(result["rows"], pairs) + "\n")
    if any("gains" in row for row in result["rows"]):
        tables.append(gains(result["rows"]))
    print(select_rows("\n\n".join(tables), only))
    for path in [] if folder is None else plot(result["rows"], folder):
        print(f"Drawn: {path}")


def grouped(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Group rows of all splits and seeds by backend and model: ``overview_lstm_pooled.2`` is the third seed."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        stem, _, number = row["model"].rpartition(".")
        groups.setdefault((row["backend"] or "", stem if number.isdigit() else row["model"]), []).append(row)
    return groups


def means(rows: list[Row]) -> str:
    """Return the means over splits and seeds, as Markdown."""
    head = ["model", "backend", "loss", "mAP", "micro-F1", "macro-F1", *(f"loss - {name}" for name in _AGAINST)]
    head.append("seconds")
    lines = [table_row(head), table_row(["---"] * len(head))]
    for (backend, model), group in grouped(rows).items():

        def mean(get: Callable[[Row], float | None], group: list[Row] = group) -> float | None:
            values = [get(row) for row in group]
            return None if any(value is None for value in values) else float(np.mean(values))

        loss, *others = (mean(lambda row, key=key: row.get(key)) for key in SHOWN)
        minus = [mean(lambda row, to=to: row.get("minus", {}).get(to, {}).get("loss", [None])[0]) for to in _AGAINST]
        seconds = mean(lambda row: row.get("seconds"))
        cells = [model, backend, f"{loss:.4f}", *("" if value is None else f"{value:.3f}" for value in others)]
        cells += ["" if value is None else f"{value:+.4f}" for value in minus]
        lines.append(table_row([*cells, "" if seconds is None else f"{seconds:.0f}"]))
    return "\n".join(lines)


def differences(rows: list[Row], pairs: Sequence[str]) -> str:
    """Return the differences of the first seed of ``MODEL=OTHER`` on the test films of each split, with intervals."""
    splits = sorted({row["split"] for row in rows})
    head = ["less the other", "backend", "what", *(f"split {split}" for split in splits)]
    lines = [table_row(head), table_row(["---"] * len(head))]
    for model, _, other in (pair.partition("=") for pair in pairs):
        found = [row for row in rows if row["model"] in (model, f"{model}.0") and row["backend"]]
        for backend in dict.fromkeys(row["backend"] for row in found):
            for what, name, form in (("loss", "loss", "+.4f"), ("map", "mAP", "+.3f")):
                cells = []
                for row in sorted((row for row in found if row["backend"] == backend), key=lambda row: row["split"]):
                    minus = row["minus"].get(other) or row["minus"][f"{other}.0"]
                    value, low, high = (f"{number:{form}}" for number in minus[what])
                    cells.append(f"{value} [{low}, {high}]")
                lines.append(table_row([f"{model} - {other}", backend, name, *cells]))
    return "\n".join(lines)


def gains(rows: list[Row]) -> str:
    """Compare two models' average precision by genre: means, and on how many splits the interval excludes 0."""
    lines = []
    pairs = dict.fromkeys((row["backend"], row["model"], other) for row in rows for other in row.get("gains", {}))
    for backend, model, other in pairs:
        found = [row["gains"][other] for row in rows if (row["backend"], row["model"]) == (backend, model)]
        means = {}
        for genre in {genre for split in found for genre in split}:
            each = [split[genre] for split in found if genre in split]
            values = np.mean([[one["other"], one["ap"], one["minus"][0]] for one in each], axis=0)
            sides = [sum(one["minus"][1] > 0 for one in each), sum(one["minus"][2] < 0 for one in each)]
            means[genre] = (*values, *sides, len(each))
        lines += [table_row(["genre", other, model, "gain", "splits above chance", "below"]), table_row(["---"] * 6)]
        for genre, (before, after, gain, above, below, splits) in sorted(means.items(), key=lambda item: -item[1][2]):
            shares = [f"{above} of {splits}", f"{below} of {splits}"]
            lines.append(table_row([genre, f"{before:.3f}", f"{after:.3f}", f"{gain:+.3f}", *shares]))
        lines.append("")
    return "\n".join(lines)


def plot(rows: list[Row], folder: Path) -> list[Path]:
    """Plot the test losses of all models, a dot for each split and seed, and the networks' learning curves."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from error
    folder.mkdir(parents=True, exist_ok=True)
    groups = sorted(grouped(rows).items(), key=lambda item: -np.mean([row["loss"] for row in item[1]]))
    figure = Figure(figsize=(7, 0.6 + 0.28 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for place, ((backend, _), group) in enumerate(groups):
        losses = [row["loss"] for row in group]
        colour = {"": "#888888", "jax": "#9467bd"}.get(backend, "#ff7f0e")
        axes.plot(losses, [place] * len(losses), "o", ms=4, alpha=0.5, color=colour)
        axes.plot([np.mean(losses)], [place], "|", ms=14, mew=2, color=colour)
    axes.set_yticks(
        range(len(groups)), [f"{model} ({backend})" if backend else model for (backend, model), _ in groups]
    )
    axes.set_xlabel("test loss: a dot for each split and seed, their mean a line")
    axes.grid(axis="x", alpha=0.3)
    paths = [folder / "quality-losses.png"]
    figure.savefig(paths[0], dpi=110, metadata={"Software": None})

    learned = {key: [row for row in group if row.get("curve", {}).get("validation")] for key, group in groups}
    learned = {key: group for key, group in learned.items() if group}
    if learned:
        columns = min(4, len(learned))
        lines = -(-len(learned) // columns)
        figure = Figure(figsize=(3.2 * columns, 2.8 * lines), layout="constrained")
        places = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in places[len(learned) :]:
            axes.remove()
        for axes, ((backend, model), group) in zip(places[: len(learned)], learned.items(), strict=True):
            for part, colour in (("train", "#1f77b4"), ("validation", "#ff7f0e")):
                for number, row in enumerate(group):
                    steps, losses = zip(*row["curve"][part], strict=True)
                    axes.plot(steps, losses, color=colour, alpha=0.5, lw=1, label=None if number else part)
            axes.set_title(f"{model}\n{backend}", fontsize=9)
            axes.set_xlabel("step")
        figure.axes[0].set_ylabel("loss")
        figure.axes[0].legend(fontsize=8)
        paths.append(folder / "quality-curves.png")
        figure.savefig(paths[1], dpi=110, metadata={"Software": None})
    return paths
