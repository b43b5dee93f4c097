"""Blocks rendered as Markdown, with images in separate files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kgenre.reports.blocks import Block, Bullets, Figure, Film, Films, Heading, Paragraph, Table, label


def to_markdown(blocks: Sequence[Block]) -> tuple[str, dict[str, bytes]]:
    """Return the text, and its images by file name."""
    pictures: dict[str, bytes] = {}
    return "\n\n".join(_block(block, pictures) for block in blocks) + "\n", pictures


def _block(block: Block, pictures: dict[str, bytes]) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escaped(text)}"
        case Paragraph(text, small):
            return f"*{_escaped(text)}*" if small else _escaped(text)
        case Bullets(items):
            return "\n".join(f"- {_escaped(item)}" for item in items)
        case Table():
            return _table(block)
        case Figure(name, png, caption, alt):
            pictures[name] = png
            return f"![{alt}]({name})\n\n*{_escaped(caption)}*"
        case Films(films):
            return "\n\n".join(_film(number, film, pictures) for number, film in enumerate(films, 1))
    raise TypeError(block)


def _table(table: Table) -> str:
    def cells(row: Sequence[str]) -> str:
        return "| " + " | ".join(_escaped(cell.strip().replace("\n", " ")).replace("|", "\\|") for cell in row) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    lines = [cells(table.header), rule, *(cells(row) for row in table.rows)]
    return "\n".join(lines) + (f"\n\n*{_escaped(table.caption)}*" if table.caption else "")


def _film(number: int, film: Film, pictures: dict[str, bytes]) -> str:
    truth = _escaped(", ".join(film.truth) or "none")
    lines = [f"### {_escaped(film.name)} ({film.kind})", f"Truth: {truth}"]
    images = []
    if film.poster is not None:
        pictures[f"film_{number}.jpg"] = film.poster
        images.append(f"![poster](film_{number}.jpg)")
    for i, guess in enumerate(film.guesses, 1):
        if guess.heat is not None:
            pictures[f"film_{number}_{i}.jpg"] = guess.heat
            images.append(f"![Grad-CAM of {_escaped(guess.run)}](film_{number}_{i}.jpg)")
    if images:
        lines.append(" ".join(images))
    if film.overview:
        lines.append(f"> {_escaped(' '.join(film.overview.split()))}")
    said = []
    for guess in film.guesses:
        genres = ", ".join(label(*genre) for genre in guess.genres)
        strong = sorted((w for w in guess.words or () if w[1] > 0.2), key=lambda word: -word[1])
        # Strip the commas and quotation marks that words carry in the text.
        plain = (re.sub(r"^\W+|\W+$", "", word) for word, _ in strong)
        words = list(dict.fromkeys(filter(None, plain)))[:4]
        because = f" (words for {guess.genres[0][0]}: {', '.join(words)})" if words else ""
        said.append(f"- {_escaped(guess.run)}: {_escaped(genres + because)}")
    return "\n\n".join([*lines, "\n".join(said)])


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*_`[]<>#" else c for c in text)
