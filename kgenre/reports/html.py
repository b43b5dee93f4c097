"""Blocks rendered as a single self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from kgenre.reports.blocks import Block, Bullets, Figure, Film, Films, Guess, Heading, Paragraph, Table, label, title_of

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; border-bottom: 1px solid var(--line); }
.small, figcaption { opacity: .75; font-size: .85rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .82rem; width: 100%; }
th, td { padding: .2rem .35rem; text-align: right; border-bottom: 1px solid var(--line); white-space: pre-line; }
th:first-child, td:first-child { text-align: left; } td:not(:first-child) { white-space: pre; }
tr.bold td { font-weight: 600; }
figure { margin: .8rem 0; } figure img { width: 100%; background: white; }
@media print { body { font-size: 9pt; margin: 0; max-width: none; } }
"""
_FILM_STYLE = """
.film { display: flex; gap: 1rem; border-top: 1px solid #8884; padding: .7rem 0; break-inside: avoid; }
.film .pictures { flex: 0 0 auto; display: flex; gap: .3rem; align-items: flex-start; }
.film .pictures figure { margin: 0; width: 92px; } .film img { width: 92px; border-radius: 3px; }
.film figcaption { font-size: .65rem; } .film p { margin: .2rem 0; }
.film > :last-child { min-width: 0; overflow-x: auto; }
.film .kind { opacity: .75; font-size: .85rem; }
.film table { width: auto; } .film .right { font-weight: 600; }
@media (max-width: 40rem) { .film { flex-wrap: wrap; } }
"""


def to_html(blocks: Sequence[Block]) -> str:
    """Return the whole page, with embedded images."""
    body = "\n".join(_block(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n<meta name="viewport" '
        f'content="width=device-width, initial-scale=1">\n<title>{escape(title_of(blocks))}</title>\n'
        f"<style>{_STYLE}{_FILM_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def films_to_html(films: Sequence[Film]) -> str:
    """Return a fragment of a page, for the output of a notebook cell."""
    return f"<style>{_FILM_STYLE}</style>\n" + "\n".join(map(_film, films))


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, small):
            return f'<p class="small">{escape(text)}</p>' if small else f"<p>{escape(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Table():
            return _table(block)
        case Figure(_, png, caption, alt):
            return f"<figure>{_image(png, 'png', alt)}<figcaption>{escape(caption)}</figcaption></figure>"
        case Films(films):
            return "\n".join(map(_film, films))
    raise TypeError(block)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "".join(
        f"<tr{' class=bold' if i in table.bold else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        for i, row in enumerate(table.rows)
    )
    caption = f'<p class="small">{escape(table.caption)}</p>' if table.caption else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{caption}'


def _film(film: Film) -> str:
    pictures = []
    if film.poster is not None:
        pictures.append(f"<figure>{_image(film.poster, 'jpeg', f'poster of {film.name}')}</figure>")
    for guess in film.guesses:
        if guess.heat is not None:
            image = _image(guess.heat, "jpeg", f"Grad-CAM of {guess.run}")
            pictures.append(f"<figure>{image}<figcaption>{escape(guess.run)}</figcaption></figure>")
    overview = _marked(film.explained) if film.explained else escape(film.overview)
    rows = "".join(
        f"<tr><td>{escape(guess.run)}</td>{''.join(map(_genre, guess.genres))}</tr>" for guess in film.guesses
    )
    return (
        f'<div class="film"><div class="pictures">{"".join(pictures)}</div><div><strong>{escape(film.name)}'
        f'</strong> <span class="kind">{escape(film.kind)}</span><p dir="auto">{overview}</p>'
        f'<p>Truth: <span class="right">'
        f"{escape(', '.join(film.truth) or 'none')}</span></p><table>{rows}</table></div></div>"
    )


def _marked(guess: Guess) -> str:
    parts = []
    for word, value in guess.words or ():
        colour = f"255, 130, 0, {min(value, 1) * 0.7:.2f}" if value > 0 else f"60, 120, 255, {min(-value, 1) * 0.5:.2f}"
        shown = escape(word)
        parts.append(f'<span style="background: rgba({colour})">{shown}</span>' if abs(value) > 0.1 else shown)
    return " ".join(parts)


def _genre(genre: tuple[str, float, bool]) -> str:
    return f"<td{' class=right' if genre[2] else ''}>{escape(label(*genre))}</td>"


def _image(content: bytes, kind: str, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
