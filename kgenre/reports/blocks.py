"""The blocks of a report: HTML, Markdown and PDF are rendered from the same blocks, so that their contents agree."""

from __future__ import annotations

from collections.abc import Sequence
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

    ``bold`` holds the indices of bold rows; ``first_width`` is the first column's share of the page in the PDF.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    bold: tuple[int, ...] = ()
    first_width: float = 0.3


@dataclass(frozen=True)
class Figure:
    """A PNG as wide as the page; ``name`` is its file name in the Markdown report."""

    name: str
    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Guess:
    """One run's prediction for a film: its most probable genres as (name, probability, correct), and an explanation."""

    run: str
    genres: tuple[tuple[str, float, bool], ...]
    heat: bytes | None = None  # a JPEG: the poster with a heat map of the first genre
    words: tuple[tuple[str, float], ...] | None = None  # the overview's, with importance for the first genre


@dataclass(frozen=True)
class Film:
    """An example film: its poster (a JPEG, and the path of the original), overview, true genres and predictions."""

    id: str
    title: str
    kind: str  # why it was chosen
    truth: tuple[str, ...]
    overview: str
    poster: bytes | None
    guesses: tuple[Guess, ...]
    poster_path: Path | None = None

    @property
    def name(self) -> str:
        """Its title, or else its id."""
        return self.title or self.id

    @property
    def full_name(self) -> str:
        """Its title and id."""
        return f"{self.title} ({self.id})" if self.title else self.id

    @property
    def explained(self) -> Guess | None:
        """The first prediction that marks the overview's words; None if none does."""
        return next((guess for guess in self.guesses if guess.words), None)


@dataclass(frozen=True)
class Films:
    """Example films, one below the other."""

    films: tuple[Film, ...]


def label(name: str, probability: float, right: bool) -> str:
    """Format a predicted genre for any page: "Drama 0.91 ✓"."""
    return f"{name} {probability:.2f}{' ✓' if right else ''}"


Block = Heading | Paragraph | Bullets | Table | Figure | Films


def title_of(blocks: Sequence[Block]) -> str:
    """Return the title of a document: its first heading."""
    return next((block.text for block in blocks if isinstance(block, Heading)), "kgenre")
