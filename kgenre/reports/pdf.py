"""Blocks rendered as an A4 PDF (ReportLab); the same blocks yield the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax import saxutils

import matplotlib as mpl
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import Image, SimpleDocTemplate
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Grid

from kgenre.evaluation.fonts import characters_of, fonts_for
from kgenre.reports.blocks import Block, Bullets, Figure, Film, Films, Guess, Heading, Paragraph, Table, label, title_of
from kgenre.reports.markdown import to_markdown

_PAGES = 3
_MARGIN = 38  # points
_SIZE = 8
_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"


def to_pdf(blocks: Sequence[Block]) -> bytes:
    """Return the whole document, scaled down a little, but only if that saves a page of more than three."""
    _register_fonts(to_markdown(blocks)[0])  # it has the same characters
    shortest, fewest = b"", math.inf
    for scale in (1.0, 0.96, 0.92, 0.88):
        content, pages = _built(blocks, scale)
        if pages < fewest:
            shortest, fewest = content, pages
        if pages <= _PAGES:
            break
    return shortest


def _built(blocks: Sequence[Block], scale: float) -> tuple[bytes, int]:
    def begin(canvas: Any, document: Any) -> None:
        canvas.setPageSize(A4)  # the layout was made for a larger page and is scaled down to this one
        _footer(canvas, A4[0])
        canvas.scale(scale, scale)

    buffer = io.BytesIO()
    # invariant: no date or random id, so that the same report yields the same file
    document = SimpleDocTemplate(
        buffer, pagesize=(A4[0] / scale, A4[1] / scale), invariant=1,
        title=title_of(blocks), author="kgenre", creator="kgenre", lang="en",
        leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=_MARGIN,
    )  # fmt: skip
    document.build(_story(blocks, document.width - 12), onFirstPage=begin, onLaterPages=begin)
    return buffer.getvalue(), document.page


def _register_fonts(text: str) -> None:
    """Register fonts, as PDF's own lack many European letters: DejaVu, from Matplotlib, and others for ``text``."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name in (_FONT, _BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)
    _others.clear()
    for file in fonts_for(text).files[1:]:
        with suppress(TTFError, OSError):  # ReportLab cannot read PostScript outlines
            pdfmetrics.registerFont(TTFont(file.stem, str(file)))
            pdfmetrics.registerFontFamily(file.stem, *[file.stem] * 4)
            _others[file.stem] = characters_of(file)


# The fonts registered besides DejaVu: name -> the characters that it has.
_others: dict[str, Collection[str]] = {}


def escape(text: str) -> str:
    """Return the text as ReportLab markup, with characters that DejaVu lacks set in a font that has them."""
    marked = saxutils.escape(text)
    if not _others or text.isascii():
        return marked
    runs = groupby(text, key=_font_of)
    return "".join(_in_font(font, saxutils.escape("".join(letters))) for font, letters in runs)


def _font_of(letter: str) -> str:
    known = characters_of(fonts_for("").files[0])
    return "" if letter in known else next((name for name, has in _others.items() if letter in has), "")


def _in_font(font: str, marked: str) -> str:
    return f'<font name="{font}">{marked}</font>' if font else marked


def _footer(canvas: Any, width: float) -> None:
    canvas.setFont(_FONT, 6.5)
    canvas.setFillGray(0.45)
    canvas.drawRightString(width - _MARGIN, _MARGIN / 2, str(canvas.getPageNumber()))


def _style(size: float = _SIZE, **options: Any) -> Any:
    options = {"spaceAfter": size * 0.3} | options
    return ParagraphStyle("text", fontName=_FONT, fontSize=size, leading=size * 1.35, **options)


def _story(blocks: Sequence[Block], width: float) -> list[Any]:
    story: list[Any] = []
    for block, after in zip(blocks, (*blocks[1:], None), strict=True):
        kept = 0  # how many of its first parts stay on the page of the next part
        match block:
            case Heading(text, level):
                size = 14 if level == 1 else 10
                shown = [Text(f"<b>{escape(text)}</b>", _style(size, spaceBefore=0 if level == 1 else 7))]
                kept = 1
            case Paragraph(text, small):
                shown = [_small(text) if small else Text(escape(text), _style())]
                is_below_heading = bool(story) and story[-1].getKeepWithNext()
                kept = is_below_heading and not isinstance(after, Heading | None)
            case Bullets(items):
                shown = [Text(escape(item), _style(leftIndent=11, bulletIndent=2), bulletText="•") for item in items]
            case Table():
                shown = [_table(block, width), *([_small(block.caption)] if block.caption else [])]
                kept = len(shown) - 1
            case Figure(_, png, caption, _):
                image = Image(io.BytesIO(png))
                image._restrictSize(width, 420)
                shown = [image, _small(caption)]
                kept = 1
            case Films(films):
                shown = [_film(film, width) for film in films]
        for part in shown[:kept]:
            part.keepWithNext = True
        story += shown
    return story


def _small(text: str) -> Any:
    return Text(escape(text), _style(6.8, textColor="#555555", spaceBefore=3))


def _table(table: Table, width: float) -> Any:
    name = _style(6.6, spaceAfter=0)
    number = _style(6.6, spaceAfter=0, alignment=2)

    def cells(row: Sequence[str], bold: bool) -> list[Any]:
        marked = [escape(cell).replace("\n", "<br/>") for cell in row]
        return [Text(f"<b>{c}</b>" if bold else c, number if i else name) for i, c in enumerate(marked)]

    content = [cells(table.header, False), *(cells(row, i in table.bold) for i, row in enumerate(table.rows))]
    first = table.first_width * width
    # The width of a column depends on its longest line.
    longest = [
        max(len(line) for row in (table.header, *table.rows) for line in row[i].split("\n"))
        for i in range(1, len(table.header))
    ]
    rest = [(width - first) * (length + 2) / sum(value + 2 for value in longest) for length in longest]
    grid = Grid(content, colWidths=[first, *rest], repeatRows=1)
    line = HexColor("#bbbbbb")
    grid.setStyle(
        [
            ("LINEBELOW", (0, 0), (-1, 0), 0.7, line),
            ("LINEBELOW", (0, 1), (-1, -1), 0.25, line),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("TOPPADDING", (0, 0), (-1, -1), 1.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
            ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ]
    )
    return grid


def _film(film: Film, width: float) -> Any:
    cells: list[Any] = []
    for content, who in ((film.poster, ""), *((guess.heat, guess.run) for guess in film.guesses)):
        if content is not None:
            image = Image(io.BytesIO(content))
            image._restrictSize(44, 66)
            cells.append([image, Text(escape(who), _style(4.6, spaceAfter=0, alignment=1))])
    text = _style(6.8, spaceAfter=2)
    name, truth = escape(film.name), escape(", ".join(film.truth) or "none")
    overview = _marked(film.explained) if film.explained else escape(film.overview)
    said = [
        Text(f"<b>{name}</b> – {escape(film.kind)}; truth: <b>{truth}</b>", text),
        *([Text(overview, text)] if film.overview else []),
        *(Text(f"{escape(guess.run)}: {', '.join(map(_genre, guess.genres))}", text) for guess in film.guesses),
    ]
    widths = [48] * len(cells)
    grid = Grid([[*cells, said]], colWidths=[*widths, width - sum(widths)])
    grid.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEABOVE", (0, 0), (-1, 0), 0.25, HexColor("#bbbbbb")),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 3),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ]
    )
    return grid


def _marked(guess: Guess) -> str:
    parts = []
    for word, value in guess.words or ():
        strength = min(abs(value), 1)
        red, green, blue = (255, 150, 40) if value > 0 else (110, 160, 255)
        mixed = (round(255 - strength * (255 - colour)) for colour in (red, green, blue))
        colour = "#{:02x}{:02x}{:02x}".format(*mixed)
        shown = escape(word)
        parts.append(f'<font backColor="{colour}">{shown}</font>' if strength > 0.1 else shown)
    return " ".join(parts)


def _genre(genre: tuple[str, float, bool]) -> str:
    shown = escape(label(*genre))
    return f"<b>{shown}</b>" if genre[2] else shown
