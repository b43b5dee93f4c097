"""Fonts for the characters of a text: DejaVu Sans, which comes with Matplotlib, then installed ones."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import NamedTuple

# Scripts whose letters change shape next to others: without text shaping they are drawn wrongly.
_JOINED = {*range(0x0900, 0x0E00), *range(0x0F00, 0x10A0), *range(0x1780, 0x1800)}  # India, Tibet, Myanmar, Cambodia


class Fonts(NamedTuple):
    """``files``, of which the first that has a character is used, and the characters ``missing`` from all of them."""

    files: tuple[Path, ...]
    missing: str


def fonts_for(text: str) -> Fonts:
    """Return the fonts to draw a text with, as few as possible, DejaVu Sans first.

    Example:
        >>> fonts_for("Драма").missing
        ''
    """
    return _fonts_for(frozenset(letter for letter in text if not letter.isspace()))


@functools.cache
def _fonts_for(letters: frozenset[str]) -> Fonts:
    import matplotlib as mpl

    dejavu = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    files, missing = [dejavu], letters - characters_of(dejavu)
    while missing:
        has, best = max(((len(missing & characters_of(file)), file) for file in _installed()), default=(0, dejavu))
        if not has:
            break
        files.append(best)
        missing -= characters_of(best)
    return Fonts(tuple(files), "".join(sorted(missing)))


@functools.cache
def _installed() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    return tuple(sorted(map(Path, findSystemFonts())))


@functools.cache
def characters_of(file: Path) -> frozenset[str]:
    """Return the characters that a font has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(str(file)).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def rendering_problems(text: str) -> str:
    """Describe the characters of a text that pictures and PDFs show wrongly; "" if there are none.

    Example:
        >>> rendering_problems("Драма")
        ''
    """
    problems = []
    if missing := fonts_for(text).missing:
        names = " ".join(missing[:6]) + (" ..." if len(missing) > 6 else "")
        problems.append(f"no installed font has the characters {names}")
    if any(unicodedata.bidirectional(letter) in ("R", "AL") or ord(letter) in _JOINED for letter in text):
        problems.append("characters that should join or run from right to left are drawn one by one from left to right")
    return " and ".join(problems)
