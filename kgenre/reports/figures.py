"""The report's figures as PNG; the same numbers yield the same bytes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from kgenre.evaluation.fonts import fonts_for
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.run import Run, best_of
from kgenre.reports.tested_checkpoint import tested_epoch
from kgenre.reports.verdicts import fair_baselines, short_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that people with any colour vision can tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#777777"
_OUTLINE: dict[str, Any] = {"edgecolor": _GREY, "linewidth": 0.5}  # light grey bars would be too faint on white paper
_LINES = {"frequency": "--", "tfidf": "-.", "colours": (0, (1, 3))}
MOST_GENRES = 45  # rows that fit on a page
_WIDTH = 7.1  # inches, between the margins of an A4 page
_LEGEND_LINE = 0.14  # inches, of a legend
_PER_LETTER = 0.58  # the mean width of a letter, as a share of its size
_LONGEST = 40  # letters of a name that are shown: tables may have whole sentences as genres
_STYLE = {
    "font.size": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names may have dollar signs
}


def curves_figure(runs: Sequence[Run]) -> bytes | None:
    """Draw training and validation loss over the epochs, a panel per run, with the baselines as lines."""
    drawn = [(run, curve) for run in runs if (curve := learning_curve(run)) is not None]
    if not drawn:
        return None
    import matplotlib as mpl

    with mpl.rc_context(_style("".join(run.name for run in runs))):
        figure = _figure(1.95)
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        width, longest = _WIDTH / len(drawn), max(len(_cut(run.name)) for run, _ in drawn)
        size = max(6.0, min(8.0, width * 72 / (longest * _PER_LETTER)))  # of the titles, to keep each on one line
        lows, highs = [], []
        for panel, (run, curve), colour in zip(panels, drawn, COLOURS * len(drawn), strict=False):
            panel.plot(range(1, curve.trained + 1), curve.train, color=colour, linestyle=":", label="training")
            panel.plot(curve.epochs, curve.validation, color=colour, label="validation")
            panel.plot(curve.best_epoch, curve.validation[curve.best], "o", color=colour, markersize=4, label="best")
            if (tested := tested_epoch(run)) is not None:
                panel.axvline(tested, color=_GREY, linewidth=0.8, label="tested")
            validated = next(row for row in reversed(run.rows) if "val/loss" in row)
            for key in fair_baselines(run):
                value = validated.get(f"val/baseline_{key}/loss")
                if value is not None:
                    panel.axhline(value, color=_GREY, linestyle=_LINES[key], linewidth=0.8, label=short_title(key))
                    lows.append(value)
                    highs.append(value)
            finite = sorted(filter(math.isfinite, curve.train))
            lows += [min(curve.validation), *finite[:1]]
            highs += [max(curve.validation), *finite[len(finite) // 2 :][:1]]
            panel.set_title(_wrapped(_cut(run.name), size, width), fontsize=size)
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=min(curve.trained, 2))
        room = (max(highs) - min(lows)) * 0.1
        panels[0].set_ylim(min(lows) - room, max(highs) + room)  # crops a first epoch with a far larger loss
        panels[0].set_ylabel("loss")
        for handle in _legend_below(figure, panels)[: 3 if len(drawn) > 1 else 0]:
            handle.set_color("black")  # the legend is shared by panels with different colours
        return _png(figure)


def genres_figure(runs: Sequence[Run]) -> bytes | None:
    """Draw each genre's average precision, most frequent first, with its chance level; and F1 at 0.5 and tuned.

    With more than ``MOST_GENRES`` genres, only the most frequent are shown; None if no test film has a genre.
    """
    best = best_of(runs)
    names = list(best.present_genres)
    if not names:
        return None
    names.sort(key=lambda name: (-best.support(name), name))
    del names[MOST_GENRES:]
    import matplotlib as mpl

    rows = range(len(names))
    with mpl.rc_context(_style("".join([*names, *(run.name for run in runs)]))):
        figure = _figure(0.85 + 0.105 * max(len(names), 2))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.35, 1))
        chance = [best.share(name) for name in names]
        left.barh(rows, chance, color="#dddddd", **_OUTLINE, height=0.75, label="chance")
        for run, colour, mark in zip(runs, COLOURS * len(runs), "osD^vP" * len(runs), strict=False):
            values = [run.genre(name, "ap") for name in names]
            # A legend leaves out labels that begin with an underscore.
            label = f" {run.name}" if run.name.startswith("_") else run.name
            left.plot(values, rows, mark, color=colour, markersize=3.5, label=label, clip_on=False)
        left.set_yticks(rows, [f"{_cut(name)} ({best.support(name)})" for name in names])
        left.invert_yaxis()
        left.set_xlim(0, 1)
        left.set_xlabel("average precision")
        usual = _values(best, names, "f1")
        right.barh([row - 0.2 for row in rows], usual, height=0.35, color="#bbbbbb", **_OUTLINE, label="at 0.5")
        tuned, colour = _values(best, names, "tuned_f1"), COLOURS[list(runs).index(best) % len(COLOURS)]
        right.barh([row + 0.2 for row in rows], tuned, height=0.35, color=colour, label="at tuned thresholds")
        right.set_xlim(0, 1)
        right.set_xlabel(_wrapped(f"F1 of {_cut(best.name)}", 7.5, _WIDTH / 3))
        _legend_below(figure, (left, right))
        return _png(figure)


def _legend_below(figure: Figure, panels: Sequence[Any]) -> list[Any]:
    """Draw one legend for all panels, each label once, in as many columns as fit, and return its handles in order."""
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    labels = [_cut(label) for label in handles]
    widths = sorted((28 + 6.5 * _PER_LETTER * len(label) for label in labels), reverse=True)
    columns = max((count for count in range(1, 7) if sum(widths[:count]) < _WIDTH * 72), default=1)
    columns = min(len(labels), columns)
    more = -(-len(labels) // columns) - 1
    figure.set_figheight(figure.get_figheight() + more * _LEGEND_LINE)  # the panels keep their height
    place = {"loc": "outside lower center", "ncols": columns}
    return figure.legend(handles.values(), labels, frameon=False, fontsize=6.5, **place).legend_handles


def _cut(name: str) -> str:
    """Shorten a name in its middle: names of runs may differ at their ends only."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def _wrapped(name: str, size: float, width: float) -> str:
    """Break a name into lines of ``width`` inches, in letters of ``size`` points."""
    return fill(name, max(int(width * 72 / (size * _PER_LETTER)), 1))


def _values(run: Run, names: Sequence[str], metric: str) -> list[float]:
    return [run.genre(name, metric) or 0.0 for name in names]


def _style(text: str) -> dict[str, Any]:
    from matplotlib.font_manager import fontManager, get_font

    families = []
    for file in fonts_for(text).files:
        fontManager.addfont(file)
        families.append(get_font(file).family_name)
    return _STYLE | {"font.family": families}


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure as MatplotlibFigure

    return MatplotlibFigure(figsize=(_WIDTH, height), dpi=170, layout="constrained")


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # one per character that no font has: the report warns once
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font|Matplotlib currently does not support")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
