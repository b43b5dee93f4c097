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
            return f"{'#' * level} {escaped(text)}"
        case Paragraph(text, small):
            return f"*{escaped(text)}*" if small else escaped(text)
        case Bullets(items):
            return "\n".join(f"- {escaped(item)}" for item in items)
        case Table():
            return _table(block)
        case Figure(name, png, caption, alt):
            pictures[name] = png
            return f"![{alt}]({name})\n\n*{escaped(caption)}*"
        case Films(films):
            return "\n\n".join(_film(number, film, pictures) for number, film in enumerate(films, 1))
    raise TypeError(block)


def _table(table: Table) -> str:
    def cells(row: Sequence[str]) -> str:
        return "| " + " | ".join(escaped(cell.strip().replace("\n", " ")).replace("|", "\\|") for cell in row) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    lines = [cells(table.header), rule, *(cells(row) for row in table.rows)]
    return "\n".join(lines) + (f"\n\n*{escaped(table.caption)}*" if table.caption else "")


def _film(number: int, film: Film, pictures: dict[str, bytes]) -> str:
    truth = escaped(", ".join(film.truth) or "none")
    lines = [f"### {escaped(film.name)} ({film.kind})", f"Truth: {truth}"]
    images = []
    if film.poster is not None:
        pictures[f"film_{number}.jpg"] = film.poster
        images.append(f"![poster of {escaped(film.name)}](film_{number}.jpg)")
    for i, guess in enumerate(film.guesses, 1):
        if guess.heat is not None:
            pictures[f"film_{number}_{i}.jpg"] = guess.heat
            images.append(f"![Grad-CAM of {escaped(guess.run)}](film_{number}_{i}.jpg)")
    if images:
        lines.append(" ".join(images))
    if film.overview:
        lines.append(f"> {escaped(' '.join(film.overview.split()))}")
    said = []
    for guess in film.guesses:
        genres = ", ".join(label(*genre) for genre in guess.genres)
        strong = sorted((w for w in guess.words or () if w[1] > 0.2), key=lambda word: -word[1])
        # Strip the commas and quotation marks that words carry in the text.
        plain = (re.sub(r"^\W+|\W+$", "", word) for word, _ in strong)
        words = list(dict.fromkeys(filter(None, plain)))[:4]
        because = f" (words for {guess.genres[0][0]}: {', '.join(words)})" if words else ""
        said.append(f"- {escaped(guess.run)}: {escaped(genres + because)}")
    return "\n\n".join([*lines, "\n".join(said)])


def escaped(text: str) -> str:
    """Return a text as Markdown in which no character has a meaning of its own."""
    text = re.sub(r"[\\*_`\[\]<>#~]|&(?=#?\w+;)", r"\\\g<0>", text)
    return re.sub(r"^(\s*\d*)([-+.)])(?=\s|$)", r"\1\\\2", text, flags=re.MULTILINE)  # "- x" or "1. x" is a list
