"""Pictures of a model's predictions for films, for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from kgenre.data.posters import poster_to_show

_TILE = (120, 180)  # pixels of a poster
_MAX_GENRES = 60  # rows and columns of a picture


def co_occurrence_image(true: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> bytes:
    """Draw, for the films that have a genre (row), the share for which each genre (column) is predicted, as a PNG.

    The multi-label counterpart of a confusion matrix: the diagonal is recall; a column that is dark throughout is a
    genre that is predicted for every film. If there are very many genres, the most frequent are shown.
    """
    from PIL import Image, ImageDraw

    # Drawn with Pillow: for so many small texts, Matplotlib takes as long as a tenth of an epoch.
    shown = np.flatnonzero(true.any(axis=0))
    if len(shown) > _MAX_GENRES:
        shown = np.sort(np.argsort(-true.sum(axis=0), kind="stable")[:_MAX_GENRES])
    share = (true.T.astype(float) @ predicted)[np.ix_(shown, shown)] / true.sum(axis=0)[shown][:, None]
    cell, margin = 24, 150
    end = margin + cell * len(shown)
    canvas = Image.new("RGB", (end + 10, end + 10), "white")
    draw, font, small = ImageDraw.Draw(canvas), _plain_font(11), _plain_font(9)
    shade = np.array([[255], [255], [255]]) + share.ravel() * np.array([[-247], [-207], [-148]])  # white to dark blue
    cells = Image.fromarray(shade.T.reshape(*share.shape, 3).astype(np.uint8))
    canvas.paste(cells.resize((end - margin, end - margin), Image.Resampling.NEAREST), (margin, margin))
    draw.rectangle((margin, margin, end - 1, end - 1), outline="#444444")
    across = Image.new("RGB", (margin - 5, end - margin), "white")  # the columns' names, rotated below
    for row, genre in enumerate(shown.tolist()):
        name, middle = names[genre], cell * row + cell // 2
        draw.text((margin - 5, margin + middle), f"{name} ({true[:, genre].sum()})", "black", _font(name), anchor="rm")
        ImageDraw.Draw(across).text((0, middle), name, "black", _font(name), anchor="lm")
        for column in np.flatnonzero(share[row] >= 0.1).tolist():
            place = (margin + cell * column + cell // 2, margin + middle)
            colour = "white" if share[row, column] > 0.5 else "black"
            draw.text(place, f"{100 * share[row, column]:.0f}", colour, small, anchor="mm")
    upright = across.transpose(Image.Transpose.TRANSPOSE).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    canvas.paste(upright, (margin, 0))
    legend = "rows: true (films)\ncolumns: predicted\nat tuned thresholds\ncells: % of the row"
    draw.text((8, 8), legend, "#666666", font)
    return _png(canvas)


@cache
def _plain_font(size: int) -> Any:
    """Return Pillow's own font, cached because Pillow loads it at each call."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _font(text: str) -> Any:
    """Return Pillow's own font for ASCII, which is all that it has; else the font that lacks the fewest characters."""
    from PIL import ImageFont

    if text.isascii():
        return _plain_font(11)
    from kgenre.evaluation.fonts import characters_of, fonts_for

    best = max(fonts_for(text).files, key=lambda file: len(characters_of(file).intersection(text)))
    return ImageFont.truetype(str(best), 11)


def panel_image(films: Any, true: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> bytes:
    """Draw posters in a row, each with its true and predicted genres below: correct ones green, wrong ones red."""
    from PIL import Image, ImageDraw

    width, height = _TILE
    gap, line = 10, 13
    lines = 2 + max(max(int(t.sum()), 1) + max(int(p.sum()), 1) for t, p in zip(true, predicted, strict=True))
    canvas = Image.new("RGB", (len(films) * (width + gap) + gap, height + line * lines + 3 * gap), "white")
    draw, font = ImageDraw.Draw(canvas), _plain_font(11)
    for n in range(len(films)):
        x, y = gap + n * (width + gap), gap
        poster = poster_to_show(films.poster_paths[n])
        if poster is None:
            draw.rectangle((x, y, x + width, y + height), outline="#bbbbbb")
            draw.text((x + 30, y + 80), "no poster", fill="#888888", font=font)
        else:
            canvas.paste(poster.resize(_TILE), (x, y))
        y += height + 4
        for title, chosen in (("true", true[n]), ("predicted", predicted[n])):
            draw.text((x, y), title, fill="#888888", font=font)
            y += line
            for genre in np.flatnonzero(chosen).tolist():
                colour = "black" if title == "true" else ("#00802b" if true[n, genre] else "#c00000")
                draw.text((x, y), names[genre], fill=colour, font=_font(names[genre]))
                y += line
            if not chosen.any():
                draw.text((x, y), "none", fill="#888888", font=font)
                y += line
            y += 4
    return _png(canvas)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)  # a fifth larger, in a third of the time
    return buffer.getvalue()
