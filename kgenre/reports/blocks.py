"""What a page is made of: the same blocks become HTML, Markdown and PDF, so that all three say the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 (the title) or 2."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text; ``small`` for notes."""

    text: str
    small: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is text, the others are numbers.

    ``bold`` marks rows; ``first_width`` is the first column's share of the page in the PDF.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    bold: tuple[int, ...] = ()
    first_width: float = 0.3


@dataclass(frozen=True)
class Figure:
    """A PNG over the width of the page; ``name`` is its file's in the Markdown report."""

    name: str
    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Guess:
    """What one run says of a film: the most probable genres with probability, right or not, and the explanation."""

    run: str
    genres: tuple[tuple[str, float, bool], ...]
    heat: bytes | None = None  # a JPEG of the poster with where the first genre is seen
    words: tuple[tuple[str, float], ...] | None = None  # of the overview, with what each says for the first genre


@dataclass(frozen=True)
class Film:
    """An example film: its poster (a JPEG, and where its file is), overview, truth, and what each run says."""

    id: str
    title: str
    kind: str  # why it is shown
    truth: tuple[str, ...]
    overview: str
    poster: bytes | None
    guesses: tuple[Guess, ...]
    poster_path: Path | None = None


@dataclass(frozen=True)
class Films:
    """Example films, one below the other."""

    films: tuple[Film, ...]


def label(name: str, probability: float, right: bool) -> str:
    """One of a guess's genres as every page shows it: "Drama 0.91 ✓"."""
    return f"{name} {probability:.2f}{' ✓' if right else ''}"


Block = Heading | Paragraph | Bullets | Table | Figure | Films
